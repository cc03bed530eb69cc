//! Who is let in, and who is believed, at a door of the API on this machine.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

use super::*;

const TOKEN: &str = "0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(10);

/// A door that says of each caller whether he has shown a certificate.
async fn door(ring: Keyring) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = incoming(listener, Shown::ToRolesOrPlain(Arc::new(ring), &[Role::Client]));
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = incoming.next().await;
            let said: &[u8] = if connection.is_certified() { b"certified" } else { b"plain" };
            let mut asked = [0; 3];
            connection.read_exact(&mut asked).await.unwrap();
            connection.write_all(said).await.unwrap();
            connection.shutdown().await.unwrap();
        }
    });
    address
}

/// What the door says of a client with `ring`; none when one of both does not believe the other.
async fn says(address: SocketAddr, ring: &Keyring) -> Option<String> {
    let keys = ring.keys();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(Arc::clone(&keys.roots))
        .with_client_auth_cert(keys.chain.clone(), keys.key())
        .unwrap();
    let call = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let name = Role::Scheduler.server_name()?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        stream.write_all(b"ask").await.ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await.ok()?;
        Some(said)
    };
    tokio::time::timeout(PATIENCE, call).await.unwrap()
}

fn of(token: &str, role: Role) -> Keyring {
    callers(Some(token), role).unwrap()
}

fn stranger(role: Role) -> Keyring {
    Keyring::fixed(Keys::issued(&Authority::new(1).unwrap(), role, 1).unwrap())
}

#[tokio::test]
async fn holders_of_one_token_know_each_other_and_nobody_else() {
    let address = door(of(TOKEN, Role::Scheduler)).await;
    assert_eq!(says(address, &of(TOKEN, Role::Client)).await.as_deref(), Some("certified"));
    let other = "0123456789abcdeg";
    for ring in [of(other, Role::Client), of(TOKEN, Role::Executor), stranger(Role::Client)] {
        assert_eq!(says(address, &ring).await, None, "{ring:?}");
    }
    // What listens without the token is not believed, whatever it shows.
    for ring in [of(other, Role::Scheduler), stranger(Role::Scheduler), of(TOKEN, Role::Client)] {
        let address = door(ring).await;
        assert_eq!(says(address, &of(TOKEN, Role::Client)).await, None);
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_let_in_and_has_shown_nothing() {
    let address = door(of(TOKEN, Role::Scheduler)).await;
    for asked in ["GET", "ask", "\0\0\0"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "plain");
    }
}

#[test]
fn a_token_makes_one_key_that_does_not_show_it() {
    let of = |token: &str| Authority::of_token(token, 1).unwrap();
    let own = of(TOKEN);
    assert_eq!(own.key(), of(TOKEN).key());
    assert_ne!(own.key(), of("0123456789abcdeg").key());
    assert!(!own.certificate().contains(TOKEN) && !own.key().contains(TOKEN));
}
