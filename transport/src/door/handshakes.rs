//! Who gets in, on real connections.

use std::future::poll_fn;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::codegen::Service as _;
use tonic::codegen::http::Request;
use tonic::service::Routes;
use tonic::transport::Server;

use super::*;
use crate::authority::Authority;
use crate::files::{Step, init, issue, rotate};
use crate::keys::Keys;

const PATIENCE: Duration = Duration::from_secs(10);

fn door(authority: &Authority, role: Role) -> Door {
    Door::Locked(Arc::new(Keyring::fixed(Keys::issued(authority, role, 1).unwrap())))
}

fn in_folder(folder: &Path, role: Role) -> Door {
    Door::Locked(Arc::new(Keyring::in_folder(folder, role).unwrap()))
}

/// A server of gRPC without services behind `door`, for `roles`.
async fn serve(door: &Door, roles: &'static [Role]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = door.listen(listener, roles);
    tokio::spawn(Server::builder().add_routes(Routes::default()).serve_with_incoming(incoming));
    address
}

/// Whether a call is answered.
async fn answers(endpoint: Endpoint) -> bool {
    let call = async {
        let mut channel = endpoint.connect().await.ok()?;
        poll_fn(|cx| channel.poll_ready(cx)).await.ok()?;
        let request = Request::post("/none/None").body(tonic::body::Body::empty()).unwrap();
        channel.call(request).await.ok()
    };
    tokio::time::timeout(PATIENCE, call).await.is_ok_and(|answer| answer.is_some())
}

async fn gets_in(door: &Door, address: SocketAddr, role: Role) -> bool {
    let plain = Endpoint::from_shared(format!("http://{address}")).unwrap();
    answers(door.way(plain, role, Some(PATIENCE)).unwrap()).await
}

#[tokio::test]
async fn only_the_roles_of_a_door_get_in() {
    let authority = Authority::new(1).unwrap();
    let scheduler = serve(&door(&authority, Role::Scheduler), &[Role::Executor]).await;
    let executor = serve(&door(&authority, Role::Executor), &[Role::Executor, Role::Scheduler]).await;
    for (role, to_scheduler, to_executor) in
        [(Role::Scheduler, false, true), (Role::Executor, true, true), (Role::Client, false, false)]
    {
        let own = door(&authority, role);
        assert_eq!(gets_in(&own, scheduler, Role::Scheduler).await, to_scheduler, "{role:?}");
        assert_eq!(gets_in(&own, executor, Role::Executor).await, to_executor, "{role:?}");
    }
}

#[tokio::test]
async fn strangers_stay_outside() {
    let authority = Authority::new(1).unwrap();
    let address = serve(&door(&authority, Role::Scheduler), &[Role::Executor]).await;
    // With certificates of their own authority, which has the same name.
    let theirs = Authority::new(1).unwrap();
    assert!(!gets_in(&door(&theirs, Role::Executor), address, Role::Scheduler).await);
    // Theirs, while they trust ours, so that only the scheduler can refuse.
    let mixed = Keys::new(Role::Executor, authority.certificate().to_owned(), {
        let issued = theirs.issue(Role::Executor, 1).unwrap();
        issued.certificate + &issued.key
    });
    assert!(!gets_in(&Door::Locked(Arc::new(Keyring::fixed(mixed.unwrap()))), address, Role::Scheduler).await);
    // Without a certificate.
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.certificate()))
        .domain_name(Role::Scheduler.host());
    let none = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    assert!(!answers(none).await);
    // Without TLS.
    assert!(!answers(Endpoint::from_shared(format!("http://{address}")).unwrap()).await);
    // And the right one still gets in.
    assert!(gets_in(&door(&authority, Role::Executor), address, Role::Scheduler).await);
}

#[tokio::test]
async fn nobody_else_is_taken_for_the_scheduler() {
    let authority = Authority::new(1).unwrap();
    let own = door(&authority, Role::Executor);
    let impostor = serve(&door(&Authority::new(1).unwrap(), Role::Scheduler), &[Role::Executor]).await;
    assert!(!gets_in(&own, impostor, Role::Scheduler).await);
    let other_role = serve(&door(&authority, Role::Executor), &[Role::Executor]).await;
    assert!(!gets_in(&own, other_role, Role::Scheduler).await, "an executor stands there");
    let plain = serve(&Door::Open, &[]).await;
    assert!(!gets_in(&own, plain, Role::Scheduler).await);
}

#[tokio::test]
async fn an_authority_is_replaced_while_both_sides_run() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("certs");
    init(&folder, 10, 1).unwrap();
    let (scheduler, executor) = (in_folder(&folder, Role::Scheduler), in_folder(&folder, Role::Executor));
    // One that was copied away before, as a thief's.
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let copy = Keys::new(Role::Executor, read("authority.pem"), read("executor.pem")).unwrap();
    let copy = Door::Locked(Arc::new(Keyring::fixed(copy)));
    let address = serve(&scheduler, &[Role::Executor]).await;
    let both = |expected: bool| {
        let (executor, copy) = (executor.clone(), copy.clone());
        async move {
            assert!(gets_in(&executor, address, Role::Scheduler).await);
            assert_eq!(gets_in(&copy, address, Role::Scheduler).await, expected);
        }
    };
    both(true).await;
    issue(&folder, Role::Executor, 2).unwrap();
    both(true).await;
    rotate(&folder, Step::Sign, 10, 1).unwrap_err();
    rotate(&folder, Step::Forget, 10, 1).unwrap_err();
    rotate(&folder, Step::Trust, 10, 1).unwrap();
    both(true).await;
    rotate(&folder, Step::Trust, 10, 1).unwrap_err();
    rotate(&folder, Step::Forget, 10, 1).unwrap_err();
    rotate(&folder, Step::Sign, 10, 1).unwrap();
    // The copy trusts the old authority alone.
    both(false).await;
    rotate(&folder, Step::Forget, 10, 1).unwrap();
    both(false).await;
    issue(&folder, Role::Executor, 1).unwrap();
    both(false).await;
}

#[tokio::test]
async fn files_that_cannot_be_read_leave_the_last_ones_in_use() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("certs");
    init(&folder, 10, 1).unwrap();
    init(&folder, 10, 1).unwrap_err();
    let (scheduler, executor) = (in_folder(&folder, Role::Scheduler), in_folder(&folder, Role::Executor));
    let address = serve(&scheduler, &[Role::Executor]).await;
    std::fs::write(folder.join("scheduler.pem"), "half").unwrap();
    assert!(gets_in(&executor, address, Role::Scheduler).await);
    assert!(Keyring::in_folder(&folder, Role::Scheduler).is_err(), "a new start says so");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("certs");
    init(&folder, 10, 1).unwrap();
    let file = folder.join("executor.pem");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Keyring::in_folder(&folder, Role::Executor).unwrap_err();
    assert!(error.message().contains("chmod 600") && error.message().contains("executor.pem"), "{error}");
}
