//! What end-to-end tests need from outside, and which tests those are, by parts of their names.

/// Which of the end-to-end tests run.
pub enum Outside {
    /// Those that need nothing from outside.
    Without,
    /// Those that need DuckDB.
    DuckDb,
    /// Those that need Spark.
    Spark,
    /// Those that need a browser.
    Chromium,
    /// Those that need an API server and what checks manifests.
    Deploy,
    /// Those that need the static binary and its image.
    Image,
    /// Those that need the static binary for another machine than this.
    OtherArch,
    /// Those that need object stores.
    Stores,
    /// Those that need an API server.
    ApiServer,
}

impl Outside {
    /// Parts of the names of the tests that need something from outside.
    pub const ALL: [&str; 8] = [
        "duckdb",
        "chromium",
        "deploy::",
        "spark",
        "ship::",
        "other_arch::",
        "recorder::",
        "image::",
    ];

    /// Part of the names of those that need this; nothing where none is needed.
    pub fn tests(&self) -> Option<&'static str> {
        match self {
            Self::Without => None,
            Self::DuckDb => Some(Self::ALL[0]),
            Self::Spark => Some(Self::ALL[3]),
            Self::Chromium => Some(Self::ALL[1]),
            Self::Deploy => Some(Self::ALL[2]),
            Self::Stores => Some(Self::ALL[4]),
            Self::OtherArch => Some(Self::ALL[5]),
            Self::Image => Some(Self::ALL[7]),
            Self::ApiServer => Some(Self::ALL[6]),
        }
    }
}
