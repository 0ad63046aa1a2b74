//! A dataset's place by URL: `file:///FOLDER`, `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`,
//! `gs://BUCKET/PREFIX`, for the probe that ships to it and the analyzer that reads from it.
//!
//! Credentials come from the environment or a workload identity, by the names that the clouds' own
//! tools use (`AWS_…`, `AZURE_…`, `GOOGLE_…`). A URL that carries any is refused and never shown.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

/// Variables of which one is set wherever credentials do not come from the machine itself.
const S3_CREDENTIALS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];
const AZURE_CREDENTIALS: [&str; 14] = [
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_SKIP_SIGNATURE",
    "AZURE_USE_AZURE_CLI",
    "AZURE_IDENTITY_ENDPOINT",
    "IDENTITY_ENDPOINT",
];
const GOOGLE_CREDENTIALS: [&str; 5] = [
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SKIP_SIGNATURE",
];

/// The URL of a store, free of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    scheme: Scheme,
    url: Url,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    File,
    S3,
    Azure,
    Google,
}

/// A store and the folder in it that is the dataset's root.
#[derive(Clone, Debug)]
pub struct Store {
    /// The store.
    pub objects: Arc<dyn ObjectStore>,
    /// The dataset's root.
    pub root: Path,
}

/// How long one request may take, and how often it is tried again at once.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Time for a connection, in whole seconds.
    pub connect_seconds: u32,
    /// Time for a request, its connection included, in whole seconds.
    pub request_seconds: u32,
    /// Attempts after a failure that the store calls passing.
    pub retry: RetryConfig,
}

/// Why a URL is not that of a store. None of them shows the URL, since it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Not a URL at all.
    #[error(
        "not a URL: give file:///FOLDER, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or gs://BUCKET/PREFIX"
    )]
    Malformed,
    /// Another kind of URL.
    #[error("{scheme}:// names no store: give file://, s3://, az:// or gs://")]
    Scheme {
        /// Its scheme.
        scheme: String,
    },
    /// A user, a password, a query or a fragment.
    #[error(
        "a URL with user, password, query or fragment may hold a secret: leave them out, \
         credentials come from the environment (AWS_…, AZURE_…, GOOGLE_…) or a workload identity"
    )]
    Credentials,
    /// No container or bucket, or a host where a folder of this machine is meant.
    #[error("{0}")]
    Place(&'static str),
}

/// Why a store could not be set up: what its environment variables lack, mostly.
#[derive(Debug, thiserror::Error)]
#[error("{url}: cannot be used as a store; {}", url.wants())]
pub struct StoreError {
    /// The store.
    pub url: StoreUrl,
    /// What its library says.
    #[source]
    pub source: Box<object_store::Error>,
}

impl StoreUrl {
    /// Whether the text is meant as a URL rather than as a path.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }

    /// The folder of a `file://` URL.
    pub fn local_folder(&self) -> Option<PathBuf> {
        match self.scheme {
            Scheme::File => self.url.to_file_path().ok(),
            _ => None,
        }
    }

    /// What whoever runs the program has to provide.
    pub fn wants(&self) -> &'static str {
        match self.scheme {
            Scheme::File => "give a folder that can be written to",
            Scheme::S3 => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the pod a role \
                 (AWS_WEB_IDENTITY_TOKEN_FILE)"
            }
            Scheme::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or \
                 AZURE_STORAGE_SAS_TOKEN, or give the pod a workload identity"
            }
            Scheme::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS, or give the pod a workload identity"
            }
        }
    }

    /// Whether the environment names no credentials, so that the machine's own would be taken.
    pub fn lacks_credentials(&self) -> bool {
        let names: &[&str] = match self.scheme {
            Scheme::File => return false,
            Scheme::S3 => &S3_CREDENTIALS,
            Scheme::Azure => &AZURE_CREDENTIALS,
            Scheme::Google => &GOOGLE_CREDENTIALS,
        };
        names.iter().all(|name| std::env::var_os(name).is_none())
    }

    /// Sets the store up; nothing is asked of it yet. A `file://` folder is made.
    pub fn open(&self, patience: &Patience) -> Result<Store, StoreError> {
        // Whoever set one up before chose it; this one is the only one that is built in.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |source| StoreError {
            url: self.clone(),
            source: Box::new(source),
        };
        if let Some(folder) = self.local_folder() {
            let opened =
                std::fs::create_dir_all(&folder).map_err(|source| object_store::Error::Generic {
                    store: "file",
                    source: Box::new(source),
                });
            let objects = opened
                .and_then(|()| LocalFileSystem::new_with_prefix(&folder))
                .map_err(failed)?;
            return Ok(Store {
                objects: Arc::new(objects.with_fsync(true)),
                root: Path::default(),
            });
        }
        let objects = self.remote(patience).map_err(failed)?;
        let root = Path::from_url_path(self.url.path()).map_err(|source| failed(source.into()))?;
        Ok(Store { objects, root })
    }

    fn remote(&self, patience: &Patience) -> object_store::Result<Arc<dyn ObjectStore>> {
        let connect = format!("{} seconds", patience.connect_seconds);
        let request = format!("{} seconds", patience.request_seconds);
        let options = [
            (ClientConfigKey::ConnectTimeout, connect),
            (ClientConfigKey::Timeout, request),
        ];
        let url = self.url.as_str();
        Ok(match self.scheme {
            Scheme::S3 => {
                let mut builder = AmazonS3Builder::from_env().with_url(url);
                for (key, value) in options {
                    builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
                }
                Arc::new(builder.with_retry(patience.retry.clone()).build()?)
            }
            Scheme::Azure => {
                let mut builder = MicrosoftAzureBuilder::from_env().with_url(url);
                for (key, value) in options {
                    builder = builder.with_config(AzureConfigKey::Client(key), value);
                }
                Arc::new(builder.with_retry(patience.retry.clone()).build()?)
            }
            Scheme::Google | Scheme::File => {
                let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url);
                for (key, value) in options {
                    builder = builder.with_config(GoogleConfigKey::Client(key), value);
                }
                Arc::new(builder.with_retry(patience.retry.clone()).build()?)
            }
        })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let url = match Url::parse(text) {
            Ok(url) if StoreUrl::is_meant(text) => url,
            Ok(_) | Err(_) => return Err(StoreUrlError::Malformed),
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(StoreUrlError::Credentials);
        }
        let scheme = match url.scheme() {
            "file" => Scheme::File,
            "s3" => Scheme::S3,
            "az" => Scheme::Azure,
            "gs" => Scheme::Google,
            scheme => {
                let scheme = scheme.to_owned();
                return Err(StoreUrlError::Scheme { scheme });
            }
        };
        let host = url.host_str().unwrap_or_default();
        match scheme {
            Scheme::File if !host.is_empty() => Err(StoreUrlError::Place(
                "file:// names a folder of this machine: give three slashes, file:///FOLDER",
            )),
            Scheme::File if url.to_file_path().is_err() => Err(StoreUrlError::Malformed),
            Scheme::S3 | Scheme::Azure | Scheme::Google if host.is_empty() => Err(
                StoreUrlError::Place("the URL names no container or bucket: give it after ://"),
            ),
            _ => Ok(Self { scheme, url }),
        }
    }
}

/// Takes from a message what a store's library may have put into it: the user and the query of
/// URLs, where signatures and keys stand.
pub fn without_secrets(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        let Some(start) = word.find("://") else {
            return word.to_owned();
        };
        let (scheme, rest) = word.split_at(start + "://".len());
        let (rest, hidden) = match rest.split_once('?') {
            Some((rest, _query)) => (rest, "?…"),
            None => (rest, ""),
        };
        let host_end = rest.find('/').unwrap_or(rest.len());
        let host_start = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}{}{hidden}", &rest[host_start..])
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Most that is shown of a store's own words, in characters; some answer with a page of XML.
const MOST_WORDS: usize = 240;

/// The innermost reason of a store's error: short, on one line and without secrets.
pub fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let innermost = causes(error).last().unwrap_or(error).to_string();
    let line = innermost.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = without_secrets(without_page(&line).as_deref().unwrap_or(&line));
    match line.char_indices().nth(MOST_WORDS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A line with the code of a page of XML in the page's place; nothing where there is none.
fn without_page(line: &str) -> Option<String> {
    let (before, page) = line.split_once('<')?;
    let (_, code) = page.split_once("Code>")?;
    let (code, _) = code.split_once("</Code>")?;
    Some(format!("{}{}", before, code.trim()))
}

/// An error, its cause, the cause of that, and so on.
pub fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(text: &str, expected: StoreUrlError) {
        let error = text.parse::<StoreUrl>().expect_err(text);
        assert_eq!(error, expected, "{text}");
        let shown = error.to_string();
        assert!(!shown.contains("secret-word"), "{shown}");
        assert_eq!(shown.lines().count(), 1);
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_shown() {
        for text in [
            "az://user:secret-word@container/prefix",
            "s3://secret-word@bucket",
            "az://container/prefix?sig=secret-word",
            "gs://bucket/#secret-word",
            "https://account.blob.core.windows.net/container?sv=1&sig=secret-word",
        ] {
            check_refused(text, StoreUrlError::Credentials);
        }
    }

    #[test]
    fn only_stores_are_taken() {
        let scheme = "ftp".to_owned();
        check_refused("ftp://host/folder", StoreUrlError::Scheme { scheme });
        check_refused("container/prefix", StoreUrlError::Malformed);
        check_refused("s3:bucket", StoreUrlError::Malformed);
        for text in ["s3:///prefix", "file://folder/below"] {
            let error = text.parse::<StoreUrl>().expect_err(text);
            assert!(matches!(error, StoreUrlError::Place(_)), "{text}: {error}");
        }
        for (text, shown) in [
            ("az://container/a/b/", "az://container/a/b"),
            ("s3://bucket", "s3://bucket"),
            ("file:///tmp/x", "file:///tmp/x"),
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_store_s_words_are_one_short_line_without_secrets() {
        let page = format!(
            "403: <Error>\n see https://host/x?sig=secret-word {}",
            "x ".repeat(400)
        );
        let error = object_store::Error::Generic {
            store: "S3",
            source: Box::new(std::io::Error::other(page)),
        };
        let shown = words(&error);
        assert!(
            shown.starts_with("403: <Error> see https://host/x?…"),
            "{shown}"
        );
        assert!(!shown.contains("secret-word") && !shown.contains('\n'));
        assert_eq!(shown.chars().count(), MOST_WORDS + 1);
    }

    #[test]
    fn of_a_page_the_code_is_shown() {
        let said =
            "404 Not Found: <?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><a/></Error>";
        let error = std::io::Error::other(said);
        assert_eq!(words(&error), "404 Not Found: NoSuchBucket");
    }

    #[test]
    fn messages_lose_what_may_be_secret() {
        let message = "Error performing PUT https://u:p@host:1/c/f?comp=block&sig=S in 2 s";
        let shown = "Error performing PUT https://host:1/c/f?… in 2 s";
        assert_eq!(without_secrets(message), shown);
        assert_eq!(without_secrets("no url here"), "no url here");
    }
}
