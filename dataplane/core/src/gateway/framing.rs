//! Where one HTTP/1.1 message ends and the next begins, by one strict grammar.
//!
//! This watches the bytes on their way to the parser and shares no code with it: what the parser
//! would repair (bare line feeds, a length beside chunks, repeated lengths) is a violation here, and
//! should the two ever disagree about an end, the next head does not read as one and is refused.

use memchr::{memchr, memchr2};

/// Longer lines are left to the parser's limit on heads, which is smaller.
const MAX_LINE: usize = 48 * 1024;
const MAX_CHUNK_LINE: usize = 256;
const MAX_TRAILERS: usize = 16 * 1024;

/// What does not conform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// In a head, which began within the bytes given at this index: answer 400.
    Head(usize),
    /// In a body, or no HTTP/1 at all: cut the connection.
    Cut,
}

#[derive(Debug, Default)]
struct Head {
    lines: u32,
    content_length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    bytes: usize,
}

#[derive(Debug)]
enum State {
    Head,
    Body(u64),
    /// A chunk's size line.
    ChunkSize,
    ChunkData(u64),
    /// The line end after a chunk's data.
    ChunkEnd,
    Trailers(usize),
    /// After a request for a WebSocket: nothing more until the answer is known.
    Held,
    /// The parser's own limit ends the connection.
    Overlong,
}

/// Follows the bytes of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    head: Head,
    line: Vec<u8>,
    /// No head was complete yet.
    first: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::Head, head: Head::default(), line: Vec::new(), first: true }
    }
}

impl Framing {
    /// Takes the next bytes; how many of them the parser may see. Fewer than given only at a request
    /// for a WebSocket; see [`Framing::resume`].
    ///
    /// # Errors
    /// The bytes violate the grammar.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut at = 0;
        let mut head_at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Head => {
                    if self.head.bytes == 0 {
                        head_at = at;
                    }
                    if self.first && self.head.lines == 0 && self.is_foreign(rest) {
                        return Err(Violation::Cut);
                    }
                    self.head_line(rest).ok_or(Violation::Head(head_at))?
                }
                State::Body(left) | State::ChunkData(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    self.after_data();
                    taken
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers(_) => {
                    self.chunk_line(rest).ok_or(Violation::Cut)?
                }
                State::Held => return Ok(at),
                State::Overlong => rest.len(),
            };
        }
        Ok(at)
    }

    /// The answer was not 101: what follows is a request.
    pub fn resume(&mut self) {
        if matches!(self.state, State::Held) {
            self.state = State::Head;
        }
    }

    /// Whether the answer to a request for a WebSocket is awaited.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Held)
    }

    /// Whether a head has begun and not ended.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head | State::Overlong) && self.head.bytes > 0
    }

    /// Whether a body of known length has begun and not ended.
    #[must_use]
    pub fn is_in_sized_body(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Whether the bytes complete a first line that no version of HTTP/1 could begin with. Who speaks
    /// another protocol would not understand an answer.
    fn is_foreign(&self, bytes: &[u8]) -> bool {
        let Some(end) = memchr(b'\n', bytes) else { return false };
        let blank = self.line.is_empty() && end <= 1;
        let names_http = |text: &[u8]| text.windows(5).any(|five| five == b"HTTP/");
        if self.line.is_empty() {
            return !blank && !names_http(&bytes[..end]);
        }
        !names_http(&[&self.line[..], &bytes[..end]].concat())
    }

    fn after_data(&mut self) {
        match self.state {
            State::Body(0) => self.state = State::Head,
            State::ChunkData(0) => self.state = State::ChunkEnd,
            _ => {}
        }
    }

    /// Collects a line; `None` in the middle of one. Returns what was consumed, and the line when
    /// it is complete and ends in CR LF.
    fn collect<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Option<(usize, Option<std::borrow::Cow<'a, [u8]>>)> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            return Some((bytes.len(), None));
        };
        let line = if self.line.is_empty() {
            std::borrow::Cow::Borrowed(&bytes[..=end])
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..=end]);
            std::borrow::Cow::Owned(line)
        };
        line.ends_with(b"\r\n").then_some((end + 1, Some(line)))
    }

    fn head_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let (taken, line) = self.collect(bytes)?;
        self.head.bytes += taken;
        let Some(line) = line else {
            if self.line.len() > MAX_LINE {
                self.line = Vec::new();
                self.state = State::Overlong;
            }
            return Some(taken);
        };
        let text = &line[..line.len() - 2];
        if memchr2(b'\r', 0, text).is_some() {
            return None;
        }
        if text.is_empty() {
            // An empty line before the request line is tolerated once, as RFC 9112 asks.
            if self.head.lines == 0 {
                return (self.head.bytes <= 2).then_some(taken);
            }
            self.end_head();
        } else {
            if self.head.lines > 0 {
                self.head.field(text)?;
            }
            self.head.lines += 1;
        }
        Some(taken)
    }

    fn end_head(&mut self) {
        self.first = false;
        let head = std::mem::take(&mut self.head);
        self.state = match (head.chunked, head.content_length) {
            (true, _) => State::ChunkSize,
            (false, None | Some(0)) if head.upgrade => State::Held,
            (false, None | Some(0)) => State::Head,
            (false, Some(length)) => State::Body(length),
        };
    }

    fn chunk_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let (taken, line) = self.collect(bytes)?;
        let limit = match self.state {
            State::Trailers(_) => MAX_TRAILERS,
            _ => MAX_CHUNK_LINE,
        };
        let length = line.as_ref().map_or(self.line.len(), |line| line.len());
        if length > limit {
            return None;
        }
        let Some(line) = line else { return Some(taken) };
        let text = &line[..line.len() - 2];
        if memchr2(b'\r', 0, text).is_some() {
            return None;
        }
        self.state = match self.state {
            State::ChunkSize => match chunk_size(text)? {
                0 => State::Trailers(0),
                size => State::ChunkData(size),
            },
            State::ChunkEnd if text.is_empty() => State::ChunkSize,
            State::Trailers(_) if text.is_empty() => State::Head,
            State::Trailers(seen) if seen + length <= MAX_TRAILERS => {
                State::Trailers(seen + length)
            }
            _ => return None,
        };
        Some(taken)
    }
}

impl Head {
    /// Notes what frames the body; `None` on what may not be there.
    fn field(&mut self, text: &[u8]) -> Option<()> {
        // A folded line would belong to the field before it.
        if matches!(text[0], b' ' | b'\t') {
            return None;
        }
        let colon = memchr(b':', text)?;
        let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
        if name.last().is_none_or(u8::is_ascii_whitespace) {
            return None;
        }
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade |= value.eq_ignore_ascii_case(b"websocket");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.content_length.is_some() || self.chunked {
                    return None;
                }
                self.content_length = Some(decimal(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let alone = self.content_length.is_none() && !self.chunked;
                if !alone || !value.eq_ignore_ascii_case(b"chunked") {
                    return None;
                }
                self.chunked = true;
            }
            _ => {}
        }
        Some(())
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'))
    })
}

/// Hexadecimal digits, then perhaps an extension, which is ignored.
fn chunk_size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = text[digits..].trim_ascii_start();
    if digits == 0 || digits > 15 || !(extension.is_empty() || extension[0] == b';') {
        return None;
    }
    if extension.is_empty() && digits != text.len() {
        return None;
    }
    let digits = std::str::from_utf8(&text[..digits]).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{Framing, Violation};

    const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\n";

    /// Feeds in pieces; how much was taken before something was wrong or held.
    fn feed(text: &str, step: usize) -> (usize, Result<(), Violation>, Framing) {
        let mut framing = Framing::default();
        let mut taken = 0;
        for piece in text.as_bytes().chunks(step) {
            match framing.feed(piece) {
                Ok(count) => {
                    taken += count;
                    if count < piece.len() {
                        return (taken, Ok(()), framing);
                    }
                }
                Err(violation) => return (taken, Err(violation), framing),
            }
        }
        (taken, Ok(()), framing)
    }

    #[test]
    fn messages_follow_one_another_however_they_are_cut() {
        let text = format!(
            "{POST}Content-Length: 5\r\n\r\nhello{POST}Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\
             T: 1\r\n\r\n\r\n{POST}Content-Length: 0\r\n\r\n{POST}\r\n"
        );
        for step in 1..text.len() {
            let (taken, result, framing) = feed(&text, step);
            assert_eq!((taken, result), (text.len(), Ok(())), "step {step}");
            assert!(!framing.is_in_head() && !framing.is_held() && !framing.is_in_sized_body());
        }
        let (_, _, framing) = feed(&format!("{POST}Content-Length: 5\r\n\r\nhell"), 1000);
        assert!(framing.is_in_sized_body());
        let (_, _, framing) = feed("POST / HT", 1000);
        assert!(framing.is_in_head());
    }

    #[test]
    fn only_a_websocket_without_a_body_is_held() {
        for (fields, held) in [
            ("Upgrade: websocket\r\n", true),
            ("Upgrade: WebSocket\r\nContent-Length: 0\r\n", true),
            ("Upgrade: websocket\r\nContent-Length: 3\r\n", false),
            ("Upgrade: h2c\r\n", false),
        ] {
            let head = format!("{POST}{fields}\r\n");
            let (taken, result, mut framing) = feed(&format!("{head}abc"), 1000);
            assert_eq!(result, Ok(()), "{fields}");
            assert_eq!(framing.is_held(), held, "{fields}");
            if held {
                assert_eq!(taken, head.len());
                assert_eq!(framing.feed(b"more"), Ok(0));
                framing.resume();
                assert_eq!(framing.feed(b"GET / HTTP/1.1\r\n\r\n"), Ok(18));
            }
        }
    }

    #[test]
    fn a_violation_tells_where_its_head_began() {
        let good = format!("{POST}Content-Length: 2\r\n\r\nhi");
        let bad = format!("{good}{POST}X: 1\n\r\n");
        assert_eq!(feed(&bad, 1000).1, Err(Violation::Head(good.len())));
        assert_eq!(feed("\x16\x03\x01\n", 1000).1, Err(Violation::Cut));
        let chunks = format!("{POST}Transfer-Encoding: chunked\r\n\r\nxyz\r\n");
        assert_eq!(feed(&chunks, 1000).1, Err(Violation::Cut));
    }
}
