//! Who makes calls.

use clap::ValueEnum;

/// Who makes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    HttpRaw,
    HttpOurs,
    HttpOurs10k,
    HttpPool,
    HttpReqwest,
    GrpcChannel,
    GrpcOurs,
    GrpcOurs10k,
    GrpcThree,
    GrpcBalance,
}

impl Mode {
    /// In the order of the turns: what is compared stands side by side.
    pub(crate) const ALL: [Self; 10] = [
        Self::HttpRaw,
        Self::HttpOurs,
        Self::HttpOurs10k,
        Self::HttpPool,
        Self::HttpReqwest,
        Self::GrpcChannel,
        Self::GrpcOurs,
        Self::GrpcOurs10k,
        Self::GrpcThree,
        Self::GrpcBalance,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::HttpRaw => "HTTP: hyper, 64 raw connections (floor)",
            Self::HttpOurs => "HTTP: ours, 3 nodes",
            Self::HttpOurs10k => "HTTP: ours, 10 000 entries",
            Self::HttpPool => "HTTP: hyper-util's pool",
            Self::HttpReqwest => "HTTP: reqwest",
            Self::GrpcChannel => "gRPC: tonic, 1 channel to 1 server (floor)",
            Self::GrpcOurs => "gRPC: ours, 3 nodes",
            Self::GrpcOurs10k => "gRPC: ours, 10 000 entries",
            Self::GrpcThree => "gRPC: tonic, 3 channels in turn (floor of 3)",
            Self::GrpcBalance => "gRPC: tonic balance_list of 3",
        }
    }

    pub(crate) fn is_grpc(self) -> bool {
        matches!(
            self,
            Self::GrpcChannel
                | Self::GrpcOurs
                | Self::GrpcOurs10k
                | Self::GrpcThree
                | Self::GrpcBalance
        )
    }

    /// What its figures are divided by.
    pub(crate) fn floor(self) -> Self {
        match self.is_grpc() {
            true => Self::GrpcChannel,
            false => Self::HttpRaw,
        }
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
