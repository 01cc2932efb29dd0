//! The flags, one row each: the one source for the parser, the help text and the environment.

/// One flag.
pub(super) struct Flag {
    /// The name behind `--`, and clap's id.
    pub(super) name: &'static str,
    /// The environment variable that stands in for it.
    pub(super) env: &'static str,
    /// What a value looks like.
    pub(super) value: &'static str,
    /// One line of explanation.
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// How a flag is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Once,
    Repeated,
    /// Known only to be refused with a reason; its environment variable counts.
    EnvironmentOnly,
}

const fn once(
    name: &'static str,
    env: &'static str,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        env,
        value,
        help,
        kind: Kind::Once,
    }
}

pub(super) const FLAGS: &[Flag] = &[
    once(
        "registry",
        "MICRO_REGISTRY",
        "NAME|URL",
        "Registry to use: a name, or a URL such as etcd://10.0.0.1,10.0.0.2/prefix?option=value",
    ),
    once(
        "registry_address",
        "MICRO_REGISTRY_ADDRESS",
        "HOST[:PORT],...",
        "Addresses of the registry, separated by commas",
    ),
    once(
        "registry_tls_ca",
        "MICRO_REGISTRY_TLS_CA",
        "FILE",
        "PEM file with the authorities that the registry's certificate is checked against",
    ),
    once(
        "registry_tls_cert",
        "MICRO_REGISTRY_TLS_CERT",
        "FILE",
        "PEM file with the certificate to show to the registry",
    ),
    once(
        "registry_tls_key",
        "MICRO_REGISTRY_TLS_KEY",
        "FILE",
        "PEM file with the key of that certificate",
    ),
    once(
        "registry_username",
        "MICRO_REGISTRY_USERNAME",
        "NAME",
        "User to log in to the registry as; the password comes from MICRO_REGISTRY_PASSWORD \
         or --registry_password_file",
    ),
    once(
        "registry_password_file",
        "MICRO_REGISTRY_PASSWORD_FILE",
        "FILE",
        "File with that user's password",
    ),
    Flag {
        name: "registry_password",
        env: "MICRO_REGISTRY_PASSWORD",
        value: "",
        help: "",
        kind: Kind::EnvironmentOnly,
    },
    once(
        "register_ttl",
        "MICRO_REGISTER_TTL",
        "DURATION",
        "How long the registry keeps a record that nobody renews (default: 30s)",
    ),
    once(
        "register_interval",
        "MICRO_REGISTER_INTERVAL",
        "DURATION",
        "How often a record is renewed (default: a third of the ttl that the registry grants)",
    ),
    once(
        "selector",
        "MICRO_SELECTOR",
        "NAME",
        "Where a client's nodes come from: cache, registry, dns, static (default: cache)",
    ),
    once(
        "selector_strategy",
        "MICRO_SELECTOR_STRATEGY",
        "NAME",
        "How one of several nodes is picked: random, round_robin, weighted, least_conn, p2c_ewma, \
         consistent_hash (default: p2c_ewma)",
    ),
    once(
        "client_retries",
        "MICRO_CLIENT_RETRIES",
        "COUNT",
        "Further attempts after a call has failed (default: 2)",
    ),
    once(
        "client_request_timeout",
        "MICRO_CLIENT_REQUEST_TIMEOUT",
        "DURATION",
        "Deadline of a call (default: 5s)",
    ),
    once(
        "client_pool_size",
        "MICRO_CLIENT_POOL_SIZE",
        "COUNT",
        "Connections kept to a node",
    ),
    once(
        "client_pool_ttl",
        "MICRO_CLIENT_POOL_TTL",
        "DURATION",
        "How long an unused connection is kept",
    ),
    once(
        "server_name",
        "MICRO_SERVER_NAME",
        "NAME",
        "Name of this service",
    ),
    once(
        "server_version",
        "MICRO_SERVER_VERSION",
        "VERSION",
        "Version of this service",
    ),
    once(
        "server_id",
        "MICRO_SERVER_ID",
        "ID",
        "Id of this node; unique within the service",
    ),
    once(
        "server_address",
        "MICRO_SERVER_ADDRESS",
        "HOST:PORT",
        "Address to listen on",
    ),
    once(
        "server_advertise",
        "MICRO_SERVER_ADVERTISE",
        "HOST:PORT",
        "Address to register, where it differs from the one listened on",
    ),
    Flag {
        name: "server_metadata",
        env: "MICRO_SERVER_METADATA",
        value: "KEY=VALUE",
        help: "Pair to register with this node; repeatable (in the environment: separated by commas)",
        kind: Kind::Repeated,
    },
];
