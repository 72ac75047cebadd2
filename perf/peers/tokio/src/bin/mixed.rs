//! An echo server whose requests compute: as mixed.cpp, whose options it has.

use roving_peer_tokio::{listen, number_after, Random};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone, Copy)]
struct WorkPlan {
    rounds: u64,
    stall_percent: u64,
    stall_rounds: u64,
}

impl WorkPlan {
    fn do_one(&self, random: &mut Random) {
        let stalls = (random.draw() >> 32) % 100 < self.stall_percent;
        for _ in 0..if stalls { self.stall_rounds } else { self.rounds } {
            random.draw();
        }
        std::hint::black_box(random.0); // or nobody would need the rounds
    }
}

async fn answer(mut stream: TcpStream, work: WorkPlan, mut random: Random) {
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        work.do_one(&mut random);
        if stream.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

fn main() -> std::io::Result<()> {
    let port = number_after("--port", 7000) as u16;
    let work = WorkPlan {
        rounds: number_after("--rounds", 0),
        stall_percent: number_after("--stall-percent", 0),
        stall_rounds: number_after("--stall-rounds", 0),
    };
    let threads = number_after("--threads", 2) as usize;
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_io().build()?.block_on(async {
        let listener = listen(port)?;
        tokio::spawn(async move {
            let mut connections = 0;
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    connections += 1;
                    tokio::spawn(answer(stream, work, Random(connections)));
                }
            }
        })
        .await
        .map_err(std::io::Error::other)
    })
}
