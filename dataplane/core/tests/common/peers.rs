//! The server and the node agent, as the protocol knows them.

use std::path::PathBuf;

use knarr_dataplane::protocol::{
    read_frame, write_frame, FromDataplane, FromNode, Hello, ToDataplane, ToNode,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::SOON;

/// One end of a socket that the data plane connects to.
pub struct Peer<Out, In> {
    outgoing: mpsc::UnboundedSender<Out>,
    incoming: mpsc::UnboundedReceiver<Event<In>>,
    /// What came and was not asked for yet.
    pub seen: Vec<In>,
    task: JoinHandle<()>,
    path: PathBuf,
}

enum Event<In> {
    Connected,
    Message(In),
}

pub type Server = Peer<ToDataplane, FromDataplane>;
pub type Node = Peer<FromNode, ToNode>;

impl<Out, In> Drop for Peer<Out, In> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<Out, In> Peer<Out, In>
where
    Out: serde::Serialize + Send + Sync + 'static,
    In: Send + 'static,
{
    fn start(path: PathBuf, decode: fn(&[u8]) -> In) -> Self {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (outgoing, mut to_send) = mpsc::unbounded_channel::<Out>();
        let (events, incoming) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                let _ = events.send(Event::Connected);
                let events = events.clone();
                let reading = async move {
                    let mut body = Vec::new();
                    while read_frame(&mut reader, &mut body).await.is_ok() {
                        let _ = events.send(Event::Message(decode(&body)));
                    }
                };
                let writing = async {
                    while let Some(message) = to_send.recv().await {
                        if write_frame(&mut writer, &message).await.is_err() {
                            return;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! { () = reading => {}, () = writing => {} }
            }
        });
        Self { outgoing, incoming, seen: Vec::new(), task, path }
    }

    pub fn send(&self, message: Out) {
        assert!(self.outgoing.send(message).is_ok(), "listens");
    }

    pub async fn connected(&mut self) {
        let wait = async {
            loop {
                match self.incoming.recv().await.expect("runs") {
                    Event::Connected => return,
                    Event::Message(message) => self.seen.push(message),
                }
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("connected in time");
    }

    /// The first message, seen or to come, that `wanted` takes; others are kept.
    pub async fn expect<T>(&mut self, wanted: impl Fn(&In) -> Option<T>) -> T {
        if let Some(index) = self.seen.iter().position(|message| wanted(message).is_some()) {
            let message = self.seen.remove(index);
            return wanted(&message).expect("just found");
        }
        let wait = async {
            loop {
                if let Event::Message(message) = self.incoming.recv().await.expect("runs") {
                    if let Some(found) = wanted(&message) {
                        return found;
                    }
                    self.seen.push(message);
                }
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("message in time")
    }

    /// Everything that came so far, without waiting.
    pub fn drain(&mut self) -> Vec<In> {
        while let Ok(event) = self.incoming.try_recv() {
            if let Event::Message(message) = event {
                self.seen.push(message);
            }
        }
        std::mem::take(&mut self.seen)
    }

    /// Dies: the socket goes, sessions end. Returns where it listened.
    pub async fn kill(mut self) -> PathBuf {
        self.task.abort();
        let _ = (&mut self.task).await;
        std::fs::remove_file(&self.path).unwrap();
        self.path.clone()
    }
}

impl Server {
    pub fn listen(path: PathBuf) -> Self {
        Self::start(path, decode_from_dataplane)
    }

    pub async fn hello(&mut self) -> Hello {
        self.expect(|message| match message {
            FromDataplane::Hello(hello) => Some(hello.clone()),
            _ => None,
        })
        .await
    }

    pub async fn ack(&mut self) -> (String, u64) {
        self.expect(|message| match message {
            FromDataplane::Ack(ack) => Some((ack.epoch.clone(), ack.version)),
            _ => None,
        })
        .await
    }

    pub async fn demand(&mut self) -> (String, u64) {
        self.expect(|message| match message {
            FromDataplane::Demand(demand) => Some((demand.revision.clone(), demand.queued)),
            _ => None,
        })
        .await
    }
}

fn decode_from_dataplane(body: &[u8]) -> FromDataplane {
    FromDataplane::decode(body).expect("a message")
}

impl Node {
    pub fn listen(path: PathBuf) -> Self {
        Self::start(path, |body| ToNode::decode(body).expect("a message"))
    }

    pub async fn activate(&mut self) -> (u64, String) {
        self.expect(|message| match message {
            ToNode::Activate(activate) => Some((activate.id, activate.revision.clone())),
            ToNode::Drained(_) => None,
        })
        .await
    }

    pub async fn drained(&mut self) -> (u64, String) {
        self.expect(|message| match message {
            ToNode::Drained(drained) => Some((drained.id, drained.replica.clone())),
            ToNode::Activate(_) => None,
        })
        .await
    }
}
