//! Raw clients.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{HOST, SOON};

#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| &**v)
    }
}

pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        self.answer().await
    }

    /// The next answer; panics when there is none in time.
    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    /// `None` when the connection ends first.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(SOON, self.read_answer()).await.expect("an answer in time")
    }

    async fn more(&mut self) -> Option<()> {
        let mut bytes = vec![0; 16 * 1024];
        let read = self.stream.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
        self.buffer.extend_from_slice(&bytes[..read]);
        Some(())
    }

    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            self.more().await?;
        }
    }

    async fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(fields);
            }
            let (name, value) = line.split_once(": ").expect(&line);
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    pub async fn take(&mut self, count: usize) -> Option<String> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Some(String::from_utf8(self.buffer.drain(..count).collect()).unwrap())
    }

    /// Head only.
    pub async fn head(&mut self) -> Option<Answer> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, headers: self.fields().await?, ..Answer::default() })
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.status < 200 || answer.status == 204 || answer.status == 304 {
            return Some(answer);
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.body = self.take(length).await?;
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
                if size == 0 {
                    answer.trailers = self.fields().await?;
                    break;
                }
                answer.body.push_str(&self.take(size).await?);
                self.line().await?;
            }
        } else {
            while self.more().await.is_some() {}
            answer.body = String::from_utf8(std::mem::take(&mut self.buffer)).unwrap();
        }
        Some(answer)
    }

    /// Everything until the end of the connection.
    pub async fn rest(&mut self) -> String {
        let read = async { while self.more().await.is_some() {} };
        tokio::time::timeout(SOON, read).await.expect("the end in time");
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }
}

/// One GET on a connection of its own.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    let mut client = Client::connect(address).await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    client.answer().await
}
