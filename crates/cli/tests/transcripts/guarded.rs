//! Servers that speak TLS only, demand a client's certificate, and know one user or token.

use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed, Trial};
use tokio::runtime::Runtime;
use waypost::Result;
use waypost_testkit::Missing;
use waypost_testkit::containers::{
    CONSUL, ETCD, Launch, Papers, Server, ZOOKEEPER, consul_address, etcd_address,
    zookeeper_address,
};

/// The password of `ann`, or the token. It is looked for wherever it must not be.
pub(crate) const CANARY: &str = "S3CR3T-canary";

/// A registry with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Etcd,
    Consul,
    Zookeeper,
}

/// One server and what its clients may show.
pub(crate) struct Guarded {
    pub(crate) backend: Backend,
    pub(crate) server: Server,
    pub(crate) papers: Papers,
}

/// A law of a guarded server.
pub(crate) type Law = fn(&Guarded);

/// The law on each backend, ignored with the reason where there is none.
pub(crate) fn trials(module: &str, law: Law) -> Vec<Trial> {
    [Backend::Etcd, Backend::Consul, Backend::Zookeeper]
        .into_iter()
        .map(|backend| {
            let name = format!("{module}::{}", backend.name());
            Trial::ignorable_test(name, move || {
                if !backend.is_built() {
                    let name = backend.name();
                    let reason = format!("the command is built without the feature {name}");
                    return Ok(Completion::ignored_with(reason));
                }
                match wait(Guarded::start(backend)) {
                    Ok(guarded) => {
                        law(&guarded);
                        let _inside = runtime().enter();
                        drop(guarded);
                        Ok(Completion::Completed)
                    }
                    Err(missing) if missing.is_failure() => Err(Failed::from(missing)),
                    Err(missing) => Ok(Completion::ignored_with(missing)),
                }
            })
        })
        .collect()
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// Waits for what Docker or a registry does.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}

impl Backend {
    /// Flag value and URL scheme.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Consul => "consul",
            Self::Zookeeper => "zookeeper",
        }
    }

    fn is_built(self) -> bool {
        match self {
            Self::Etcd => cfg!(feature = "etcd"),
            Self::Consul => cfg!(feature = "consul"),
            Self::Zookeeper => cfg!(feature = "zookeeper"),
        }
    }

    /// The `host:port` of a server that speaks no TLS.
    pub(crate) fn plain(self) -> String {
        let address = match self {
            Self::Etcd => wait(etcd_address()),
            Self::Consul => wait(consul_address()),
            Self::Zookeeper => wait(zookeeper_address()),
        };
        address.expect("a server")
    }

    /// Options that bound the making of a connection, and its use, to twenty seconds: a busy
    /// machine needs more than the defaults for its first handshakes.
    pub(crate) fn bounds(self) -> &'static str {
        match self {
            Self::Etcd | Self::Consul => "&connect_timeout=20s&timeout=20s",
            Self::Zookeeper => "&timeout=20s",
        }
    }

    /// Where the server keeps its files.
    fn folder(self) -> String {
        format!("/var/lib/{}", self.name())
    }

    /// What a URL says of who comes, with this password or token.
    pub(crate) fn user(self, secret: &str) -> String {
        match self {
            Self::Consul => format!(":{secret}@"),
            _ => format!("ann:{secret}@"),
        }
    }
}

impl Guarded {
    async fn start(backend: Backend) -> Result<Self, Missing> {
        let papers = Papers::new()?;
        papers.issue("other", &["other"])?;
        let folder = backend.folder();
        let mut launch = match backend {
            Backend::Etcd => etcd(&folder),
            Backend::Consul => consul(&folder),
            Backend::Zookeeper => zookeeper(&folder),
        };
        for file in ["ca.pem", "client.pem", "client-key.pem"] {
            launch = launch.with_file(format!("{folder}/{file}"), papers.text(file)?);
        }
        for (path, text) in shown(&papers, "server")? {
            launch = launch.with_file(format!("{folder}/{path}"), text);
        }
        let server = launch.with_tls(&papers)?.start().await?;
        if backend == Backend::Etcd {
            let output = server.exec(&["sh", "-ec", ETCD_USERS]).await?;
            assert_eq!(output.code, Some(0), "{output:?}");
        }
        Ok(Self {
            backend,
            server,
            papers,
        })
    }

    /// Lets the server show another certificate, and starts it again.
    pub(crate) fn show(&self, file: &str) {
        let folder = self.backend.folder();
        let files = shown(&self.papers, file).expect("files");
        let placed = |(path, text)| (format!("{folder}/{path}"), text);
        let files: Vec<_> = files.into_iter().map(placed).collect();
        wait(self.server.restart_with(&files)).expect("another certificate");
    }

    /// A URL with what a welcome client shows.
    pub(crate) fn url(&self, secret: &str) -> String {
        self.url_of("client", secret)
    }

    /// A URL with another certificate, just as good. To ZooKeeper whoever shows a certificate is
    /// its subject as well as the user: the same one would open the same doors.
    pub(crate) fn strangers_url(&self, secret: &str) -> String {
        self.url_of("other", secret)
    }

    fn url_of(&self, file: &str, secret: &str) -> String {
        let (name, user) = (self.backend.name(), self.backend.user(secret));
        let (address, shown) = (self.server.address(), self.papers.showing(file));
        let bounds = self.backend.bounds();
        format!("{name}://{user}{address}?{shown}{bounds}")
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.papers.path(file).display().to_string()
    }
}

/// The server's files with this certificate; ZooKeeper wants both halves in one.
fn shown(papers: &Papers, file: &str) -> Result<Vec<(&'static str, String)>> {
    let cert = papers.text(&format!("{file}.pem"))?;
    let key = papers.text(&format!("{file}-key.pem"))?;
    let both = format!("{key}{cert}");
    Ok(vec![
        ("server.pem", cert),
        ("server-key.pem", key),
        ("server-both.pem", both),
    ])
}

/// `root` and `ann`; from then on nobody comes without a name.
const ETCD_USERS: &str = "\
export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 ETCDCTL_CACERT=/var/lib/etcd/ca.pem
export ETCDCTL_CERT=/var/lib/etcd/client.pem ETCDCTL_KEY=/var/lib/etcd/client-key.pem
etcdctl user add root:root
etcdctl user grant-role root root
etcdctl user add ann:S3CR3T-canary
etcdctl role add owner
etcdctl role grant-permission owner --prefix=true readwrite /
etcdctl user grant-role ann owner
etcdctl auth enable
";

fn etcd(folder: &str) -> Launch {
    Launch::new(&ETCD).with_arguments([
        "--listen-client-urls=https://0.0.0.0:2379".to_owned(),
        "--advertise-client-urls=https://127.0.0.1:2379".to_owned(),
        format!("--cert-file={folder}/server.pem"),
        format!("--key-file={folder}/server-key.pem"),
        format!("--trusted-ca-file={folder}/ca.pem"),
        "--client-cert-auth".to_owned(),
    ])
}

fn consul(folder: &str) -> Launch {
    let config = format!(
        r#"ports {{ http = -1 https = 8500 }} verify_incoming_https = true
           ca_file = "{folder}/ca.pem" cert_file = "{folder}/server.pem" key_file = "{folder}/server-key.pem"
           acl {{ enabled = true default_policy = "allow" tokens {{ master = "{CANARY}" agent = "{CANARY}" }} }}"#
    );
    let file = format!("{folder}/tls.hcl");
    let taken = format!("-config-file={file}");
    Launch::new(&CONSUL)
        .with_arguments(["-dev", "-log-level=warn", "-client=0.0.0.0", &taken])
        .with_file(file, config)
}

fn zookeeper(folder: &str) -> Launch {
    let config = format!(
        "secureClientPort=2281
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={folder}/server-both.pem
ssl.trustStore.location={folder}/ca.pem
"
    );
    let mut recipe = ZOOKEEPER;
    recipe.port = 2281;
    Launch::new(&recipe).with_file(format!("{folder}/extra.cfg"), config)
}
