// Generates the messages from the repository's proto/; needs protoc (Debian: protobuf-compiler).
use std::{env, error::Error, path::PathBuf, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=PROTO");
    let proto = env::var("PROTO").unwrap_or("../../../proto".into());
    tonic_prost_build::configure()
        .build_client(false)
        // A column's bytes stay where they came in: a slice of the received message, not a copy.
        .bytes(".rendezvous.v1.Column")
        .file_descriptor_set_path(PathBuf::from(env::var("OUT_DIR")?).join("services.bin"))
        .compile_protos(&[format!("{proto}/rendezvous/v1/score.proto")], &[proto])?;
    let said = Command::new(env::var("RUSTC")?).arg("--version").output()?;
    let compiler = String::from_utf8(said.stdout)?; // rustc 1.88.0 (commit, day)
    println!("cargo::rustc-env=COMPILER={}", compiler.split(" (").next().unwrap_or_default());
    Ok(())
}
