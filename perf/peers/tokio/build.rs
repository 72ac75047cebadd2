//! Tells the programs which tokio they have, and how they are compiled.

use std::env;

fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").expect("Cargo.lock");
    let after = lock.split("name = \"tokio\"\nversion = \"").nth(1).expect("tokio in Cargo.lock");
    println!("cargo:rustc-env=ROVING_TOKIO_VERSION={}", after.split('"').next().unwrap());
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().replace('\u{1f}', " ");
    println!("cargo:rustc-env=ROVING_PEER_FLAGS=opt-level {}, lto fat {flags}", env::var("OPT_LEVEL").unwrap());
    println!("cargo:rerun-if-changed=Cargo.lock");
}
