//! Users, access lists, TLS.

use waypost_core::{ErrorKind, RegisterOptions, Result, WatchScope};
use waypost_testkit::containers::{Server, zookeeper_address};
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, Permission};

use crate::help::{
    LEAST, Verdict, at, client, given, instance, laws, name, open, own_server, register, try_open,
};
use crate::support::PERSISTENT;

laws! {
    only_its_user_changes_what_a_user_created,
    an_open_list_lets_everybody_write,
    what_cannot_be_read_is_denied_and_not_empty,
    tls_is_spoken_with_whom_it_trusts,
}

fn denied<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("S3CR3T"));
}

async fn only_its_user_changes_what_a_user_created() -> Verdict {
    let address = given!(zookeeper_address().await);
    let url = |user: &str| format!("zookeeper://{user}@{address}/guarded/registry");
    let ann = open(&url("ann:S3CR3T")).await;
    let one = instance("owned", 1);
    let mut lease = register(&*ann, &one).await;
    let raw = client(&address).await;
    for path in ["/guarded/registry/owned", "/guarded/registry/owned/owned-1"] {
        let (acl, _) = raw.get_acl(path).await.expect("acl");
        assert_eq!(acl.len(), 2, "{path}: {acl:?}");
        assert!(acl.contains(&Acl::new(Permission::READ, AuthId::anyone())));
        assert!(
            acl.iter()
                .any(|one| one.scheme() == "digest" && one.id().starts_with("ann:"))
        );
    }
    let nobody = open(&format!("zookeeper://{address}/guarded/registry")).await;
    // A wrong password is another user: the scheme knows no users of its own.
    let wrong = open(&url("ann:S3CR3T2")).await;
    for other in [&nobody, &wrong] {
        let seen = other.lookup(&one.service).await.expect("everybody reads");
        assert_eq!(seen, std::slice::from_ref(&one));
        let options = RegisterOptions::new(LEAST);
        denied(other.register(&one, options).await);
        denied(other.register(&instance("owned", 2), options).await);
        denied(other.register(&instance("new", 1), options).await);
        denied(other.deregister(&one.key()).await);
    }
    lease
        .update(&one.clone().with_version("2"))
        .await
        .expect("update");
    let again = open(&url("ann:S3CR3T")).await;
    let taken = register(&*again, &one).await;
    assert_eq!(
        lease.renew().await.expect_err("lost").kind(),
        ErrorKind::LeaseLost
    );
    taken.revoke().await.expect("revoke");
    Verdict::Kept
}

async fn an_open_list_lets_everybody_write() -> Verdict {
    let address = given!(zookeeper_address().await);
    let ann = open(&format!(
        "zookeeper://ann:S3CR3T@{address}/shared/registry?acl=open"
    ))
    .await;
    let one = instance("common", 1);
    let _lease = register(&*ann, &one).await;
    let nobody = open(&format!("zookeeper://{address}/shared/registry")).await;
    nobody.deregister(&one.key()).await.expect("deregister");
    Verdict::Kept
}

async fn what_cannot_be_read_is_denied_and_not_empty() -> Verdict {
    let address = given!(zookeeper_address().await);
    let raw = client(&address).await;
    let closed = [Acl::new(Permission::READ, AuthId::new("digest", "x:y"))];
    let unreadable = CreateMode::Persistent.with_acls(Acls::new(&closed));
    raw.mkdir("/hidden", &PERSISTENT).await.expect("mkdir");
    raw.create("/hidden/closed", b"", &unreadable)
        .await
        .expect("create");
    raw.mkdir("/hidden/half", &PERSISTENT).await.expect("mkdir");
    raw.create("/hidden/half/half-1", b"{}", &unreadable)
        .await
        .expect("create");
    let registry = open(&format!("zookeeper://{address}/hidden")).await;
    for service in ["closed", "half"] {
        denied(registry.lookup(&name(service)).await);
        let watched = registry.watch(WatchScope::Service(name(service))).await;
        assert_eq!(
            watched.err().map(|error| error.kind()),
            Some(ErrorKind::Denied)
        );
    }
    denied(registry.services().await);
    // One good record shows that the rest is merely not for us.
    let _lease = register(&*registry, &instance("plain", 1)).await;
    assert_eq!(
        registry.services().await.expect("services"),
        [name("plain")]
    );
    Verdict::Kept
}

/// The plain port takes TLS as well, from the server's next start on.
const TLS: &str = "\
client.portUnification=true
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location=/var/lib/zookeeper/server.pem
ssl.trustStore.location=/var/lib/zookeeper/ca.pem
";

/// An authority, a server's and a client's certificate, as PEM.
struct Papers {
    ca: String,
    server: (String, String),
    client: (String, String),
}

fn papers() -> Papers {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "trial authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).expect("an authority").pem();
    let issuer = Issuer::new(params, key);
    let signed = |names: Vec<String>| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    };
    Papers {
        server: signed(vec!["127.0.0.1".to_owned()]),
        client: signed(vec!["client".to_owned()]),
        ca,
    }
}

async fn put(server: &Server, path: &str, text: &str) {
    let script = format!("cat >{path} <<'END'\n{text}END\n");
    let output = server.exec(&["sh", "-c", &script]).await.expect("exec");
    assert_eq!(output.code, Some(0), "{output:?}");
}

async fn tls_is_spoken_with_whom_it_trusts() -> Verdict {
    let server = given!(own_server(&[]).await);
    let (ours, theirs) = (papers(), papers());
    let both = format!("{}{}", ours.server.1, ours.server.0);
    put(&server, "/var/lib/zookeeper/server.pem", &both).await;
    put(&server, "/var/lib/zookeeper/ca.pem", &ours.ca).await;
    put(&server, "/var/lib/zookeeper/extra.cfg", TLS).await;
    server.kill().await.expect("kill");
    server.revive().await.expect("revive");
    let files = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("write");
        path.to_str().expect("utf-8").to_owned()
    };
    let (ca, foreign) = (file("ca.pem", &ours.ca), file("foreign.pem", &theirs.ca));
    let cert = file("cert.pem", &ours.client.0);
    let key = file("key.pem", &ours.client.1);
    let at_server = format!("zookeeper://ann:S3CR3T@{}", server.address());

    let good = open(&format!("{at_server}?ca={ca}&cert={cert}&key={key}")).await;
    let one = instance("sealed-line", 1);
    let mut lease = register(&*good, &one).await;
    lease.renew().await.expect("renew");
    let seen = at(&server.address())
        .await
        .lookup(&one.service)
        .await
        .expect("lookup");
    assert_eq!(
        seen,
        [one],
        "the plain port is still there, and everybody reads"
    );

    for query in [
        format!("ca={foreign}&cert={cert}&key={key}"),
        // The server demands a certificate.
        format!("ca={ca}"),
    ] {
        let refused = open(&format!("{at_server}?{query}")).await;
        let error = refused.services().await.expect_err(&query);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let partial = try_open(&format!("{at_server}?ca={ca}&cert={cert}")).await;
    assert_eq!(partial.expect_err("no key").kind(), ErrorKind::Config);
    Verdict::Kept
}
