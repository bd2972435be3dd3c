use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::Notify,
};
use tokio_util::sync::DropGuard;

use super::*;

const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits { total: 8, per_party: 4 };

/// Answers `/wait` when it is released, everything else at once.
#[derive(Clone, Default)]
struct Waits {
    entered: Arc<Notify>,
    released: Arc<Notify>,
}

impl Answers for Waits {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/wait" {
            self.entered.notify_one();
            self.released.notified().await;
        }
        text(StatusCode::OK, "answered")
    }
}

async fn start() -> (SocketAddr, Waits, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let waits = Waits::default();
    let answers = waits.clone();
    let stops = shutdown.clone();
    tokio::spawn(async move {
        serve(listener, "the test", CONNECTION_LIMITS, |_| answers.clone(), stops).await;
    });
    (address, waits, shutdown.drop_guard())
}

/// Connects from 127.0.0.`from` and sends this.
async fn send(to: SocketAddr, from: u8, bytes: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, from], 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn idle_and_slow_heads_give_way_to_everybody_who_asks() {
    let (address, _, _guard) = start().await;
    let mut hostile = Vec::new();
    for from in [2, 3] {
        for _ in 0..2 {
            hostile.push(send(address, from, "").await);
            hostile.push(send(address, from, "GET / HTTP/1.1\r\n").await);
        }
    }
    // Others, and who has the address of the crowd: all tasks on the host's network have one.
    for from in [4, 2, 3, 5] {
        let answer = read(send(address, from, &get("/")).await).await;
        assert!(answer.ends_with("answered"), "127.0.0.{from}: {answer}");
    }
}

#[tokio::test]
async fn connection_kept_after_its_answer_gives_way() {
    let (address, _, _guard) = start().await;
    let mut kept = Vec::new();
    for n in 0..8 {
        let mut stream = send(address, 2 + n / 4, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_ne!(stream.read(&mut [0; 512]).await.unwrap(), 0);
        kept.push(stream);
    }
    let answer = read(send(address, 9, &get("/")).await).await;
    assert!(answer.ends_with("answered"), "{answer}");
}

#[tokio::test]
async fn request_that_is_answered_gives_way_to_no_crowd() {
    let (address, waits, _guard) = start().await;
    let asked = send(address, 2, &get("/wait")).await;
    waits.entered.notified().await;
    let mut crowd = Vec::new();
    for from in [2, 3, 4] {
        for _ in 0..8 {
            crowd.push(send(address, from, "GET /").await);
        }
    }
    let answer = read(send(address, 9, &get("/")).await).await;
    assert!(answer.ends_with("answered"), "the crowd is inside before: {answer}");
    waits.released.notify_one();
    let answer = read(asked).await;
    assert!(answer.ends_with("answered"), "{answer}");
}
