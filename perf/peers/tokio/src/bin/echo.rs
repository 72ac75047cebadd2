//! An echo server on one thread: `echo [--port N]`, ended by a signal.

use roving_peer_tokio::{listen, number_after};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

fn main() -> std::io::Result<()> {
    let port = number_after("--port", 7000) as u16;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = listen(port)?;
        // In a task of its own: what is given to block_on() is polled less often.
        tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(answer(stream));
                }
            }
        })
        .await
        .map_err(std::io::Error::other)
    })
}
