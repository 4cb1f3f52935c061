//! Response bodies.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use memchr::memchr;

const MAX_SIZE_LINE: usize = 256;
const MAX_TRAILERS: usize = 16 * 1024;

/// What of an answer is to come.
#[derive(Debug)]
pub(super) enum Incoming {
    Head,
    Sized(u64),
    Chunked(Chunks),
    UntilClose,
    Done,
}

/// Where in a chunked body.
#[derive(Debug)]
pub(super) enum Chunks {
    Size,
    Data(u64),
    DataEnd,
    Trailers(HeaderMap, usize),
}

impl Incoming {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks::Size)
    }

    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Sized(left) => Some(*left),
            Self::Done => Some(0),
            _ => None,
        }
    }

    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// The next piece that is complete in the inbox.
    pub(super) fn take(
        &mut self,
        inbox: &mut BytesMut,
    ) -> Result<Option<Frame<Bytes>>, &'static str> {
        match self {
            Self::Head | Self::Done => Ok(None),
            Self::UntilClose => Ok(whole(inbox).map(Frame::data)),
            Self::Sized(left) => {
                let piece = at_most(inbox, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(piece.map(Frame::data))
            }
            Self::Chunked(chunks) => {
                let (frame, done) = chunks.take(inbox)?;
                if done {
                    *self = Self::Done;
                }
                Ok(frame)
            }
        }
    }
}

fn whole(inbox: &mut BytesMut) -> Option<Bytes> {
    (!inbox.is_empty()).then(|| inbox.split().freeze())
}

fn at_most(inbox: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    if inbox.is_empty() || *left == 0 {
        return None;
    }
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(inbox.len());
    *left -= count as u64;
    Some(inbox.split_to(count).freeze())
}

/// A line without its end, once it is there.
fn line(inbox: &mut BytesMut, limit: usize) -> Result<Option<BytesMut>, &'static str> {
    let Some(end) = memchr(b'\n', inbox) else {
        return if inbox.len() > limit { Err("a line is too long") } else { Ok(None) };
    };
    if end > limit {
        return Err("a line is too long");
    }
    let mut line = inbox.split_to(end + 1);
    line.truncate(end);
    if line.last() != Some(&b'\r') || memchr(b'\r', &line) != Some(line.len() - 1) {
        return Err("a line ends without CR LF");
    }
    line.truncate(line.len() - 1);
    Ok(Some(line))
}

impl Chunks {
    /// A frame, if one is complete, and whether it was the last.
    fn take(&mut self, inbox: &mut BytesMut) -> Result<(Option<Frame<Bytes>>, bool), &'static str> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line(inbox, MAX_SIZE_LINE)? else { return Ok((None, false)) };
                    *self = match size(&line)? {
                        0 => Self::Trailers(HeaderMap::new(), 0),
                        size => Self::Data(size),
                    };
                }
                Self::Data(left) => {
                    let piece = at_most(inbox, left);
                    if *left == 0 {
                        *self = Self::DataEnd;
                        self.skip_data_end(inbox)?;
                    }
                    // A last chunk that is there already ends the body with this frame.
                    if matches!(self, Self::Size) && inbox.starts_with(b"0\r\n\r\n") {
                        inbox.advance(5);
                        return Ok((piece.map(Frame::data), true));
                    }
                    return Ok((piece.map(Frame::data), false));
                }
                Self::DataEnd => {
                    if !self.skip_data_end(inbox)? {
                        return Ok((None, false));
                    }
                }
                Self::Trailers(fields, seen) => {
                    let Some(line) = line(inbox, MAX_TRAILERS)? else { return Ok((None, false)) };
                    if line.is_empty() {
                        let fields = std::mem::take(fields);
                        let frame = (!fields.is_empty()).then(|| Frame::trailers(fields));
                        return Ok((frame, true));
                    }
                    *seen += line.len();
                    if *seen > MAX_TRAILERS {
                        return Err("the trailers are too large");
                    }
                    let (name, value) = trailer(&line)?;
                    fields.append(name, value);
                }
            }
        }
    }

    fn skip_data_end(&mut self, inbox: &mut BytesMut) -> Result<bool, &'static str> {
        if inbox.len() < 2 {
            return Ok(false);
        }
        if !inbox.starts_with(b"\r\n") {
            return Err("a chunk does not end where it says");
        }
        inbox.advance(2);
        *self = Self::Size;
        Ok(true)
    }
}

fn size(line: &[u8]) -> Result<u64, &'static str> {
    const BAD: &str = "a chunk's size";
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = line[digits..].trim_ascii_start();
    let extends = extension.first() == Some(&b';');
    if digits == 0 || digits > 15 || !(extends || digits == line.len()) {
        return Err(BAD);
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| BAD)?;
    u64::from_str_radix(digits, 16).map_err(|_| BAD)
}

fn trailer(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    const BAD: &str = "a trailer field";
    let colon = memchr(b':', line).ok_or(BAD)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| BAD)?;
    let value = line[colon + 1..].trim_ascii();
    Ok((name, HeaderValue::from_bytes(value).map_err(|_| BAD)?))
}

#[cfg(test)]
mod tests {
    use super::Incoming;
    use bytes::BytesMut;

    /// All data and trailers of a body that arrives in pieces of `step` bytes.
    fn decode(text: &str, step: usize) -> Result<(String, Vec<String>, bool, usize), &'static str> {
        let mut incoming = Incoming::chunked();
        let (mut data, mut trailers) = (String::new(), Vec::new());
        let mut inbox = BytesMut::new();
        for piece in text.as_bytes().chunks(step) {
            inbox.extend_from_slice(piece);
            while let Some(frame) = incoming.take(&mut inbox)? {
                match frame.into_data() {
                    Ok(bytes) => data.push_str(std::str::from_utf8(&bytes).expect("text")),
                    Err(frame) => {
                        let fields = frame.into_trailers().expect("trailers");
                        trailers.extend(fields.iter().map(|(n, v)| format!("{n}={v:?}")));
                    }
                }
            }
        }
        Ok((data, trailers, matches!(incoming, Incoming::Done), inbox.len()))
    }

    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        let text = "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nGrpc-Status: 0\r\n\r\nmore";
        for step in 1..text.len() {
            let (data, trailers, done, over) = decode(text, step).expect("valid");
            assert_eq!((&*data, done, over), ("hello world", true, 4), "step {step}");
            assert_eq!(trailers, ["grpc-status=\"0\""]);
        }
        let (data, trailers, done, over) = decode("1\r\nx\r\n0\r\n\r\n", 100).expect("valid");
        assert_eq!((&*data, trailers.len(), done, over), ("x", 0, true, 0));
    }

    #[test]
    fn chunks_that_are_none_are_refused() {
        for text in [
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "\r\n",
            "ffffffffffffffffff\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\nname : x\r\n\r\n",
        ] {
            assert!(decode(text, 1).is_err(), "{text:?}");
            assert!(decode(text, 1000).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sized_bodies_end_at_their_length() {
        let mut incoming = Incoming::Sized(5);
        let mut inbox = BytesMut::from(&b"hel"[..]);
        let mut taken = Vec::new();
        for more in [&b"lo!"[..], b""] {
            while let Some(frame) = incoming.take(&mut inbox).expect("valid") {
                taken.extend_from_slice(&frame.into_data().expect("data"));
            }
            inbox.extend_from_slice(more);
        }
        assert_eq!((&taken[..], &inbox[..]), (&b"hello"[..], &b"!"[..]));
        assert_eq!(incoming.left(), Some(0));
    }
}
