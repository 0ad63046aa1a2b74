//! One file to the store: whole where it is small, in parts where it is not, never over another.
//!
//! A name is never used twice for different rows, so a file that is already there with the same
//! size is the same file, shipped before the program died between the store's word and the
//! removal.

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutPayload};
use tokio::time::Instant;
use trace_schema::store::Store;

use crate::spool::stock::Held;

/// Size up to which a file is sent whole, and of the parts of a larger one.
const PART_BYTES: u64 = 8 << 20;

/// Name of the object that is put below the dataset's root at the start, which readers leave alone:
/// only a write tells whether writes are taken.
const MARK: &str = ".weighbridge";

/// Why a file was not shipped.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShipError {
    /// The file cannot be read.
    #[error("{} cannot be read, stays in the spool and is tried again at the next start", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Somebody removed the file.
    #[error("{} is gone from the spool and was not shipped", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The store has another file of that name.
    #[error(
        "{location} is in the store already with {found_bytes} bytes, not {bytes}: the file stays \
         in the spool; another probe of that node's name?"
    )]
    Taken {
        /// Where.
        location: Path,
        /// Bytes of the file.
        bytes: u64,
        /// Bytes of the one in the store.
        found_bytes: u64,
    },
    /// The store refused, or is not there.
    #[error("{location} was not shipped")]
    Store {
        /// Where to.
        location: Path,
        /// What the store's library says.
        #[source]
        source: object_store::Error,
    },
}

/// Sends files.
#[derive(Debug)]
pub(super) struct Upload {
    store: Store,
    spool_root: PathBuf,
    bytes_per_second: u64,
}

impl Upload {
    pub(super) fn new(store: Store, spool_root: PathBuf, bytes_per_second: u64) -> Self {
        Self {
            store,
            spool_root,
            bytes_per_second: bytes_per_second.max(1),
        }
    }

    /// Asks the store whether it takes files, by a small one.
    pub(super) async fn knock(&self) -> object_store::Result<()> {
        let mark = self.store.root.clone().join(MARK);
        let text = PutPayload::from_static(b"weighbridge dataset\n");
        let objects = &self.store.objects;
        match objects.put_opts(&mark, text, PutMode::Create.into()).await {
            // Each but the first finds it there; a store that knows no conditions has at least
            // understood.
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. },
            ) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Takes the small one back, where whoever looks at the store would wonder.
    pub(super) async fn forget_knock(&self) {
        let mark = self.store.root.clone().join(MARK);
        // Another probe that starts now may have been faster.
        let _ = self.store.objects.delete(&mark).await;
    }

    /// Ships a file and returns its size once the store has all of it.
    pub(super) async fn ship(&self, file: &Held) -> Result<u64, ShipError> {
        let location = self.location(&file.path);
        let mut reader = Reader::open(&file.path)?;
        let bytes = reader.bytes;
        if bytes <= PART_BYTES {
            let (part, started) = (reader.next_part()?, Instant::now());
            self.put(&location, part, bytes).await?;
            self.pace(bytes, started).await;
            return Ok(bytes);
        }
        if self.is_there(&location, bytes).await? {
            return Ok(bytes);
        }
        let failed = |source| ShipError::Store {
            location: location.clone(),
            source,
        };
        let mut parts = self
            .store
            .objects
            .put_multipart(&location)
            .await
            .map_err(failed)?;
        match self.send_parts(&mut *parts, &mut reader, &location).await {
            Ok(()) => Ok(bytes),
            Err(error) => {
                // The error that led here is the one to report; stores forget parts in time.
                let _ = parts.abort().await;
                Err(error)
            }
        }
    }

    async fn put(&self, location: &Path, part: PutPayload, bytes: u64) -> Result<(), ShipError> {
        let objects = &self.store.objects;
        let created = objects
            .put_opts(location, part.clone(), PutMode::Create.into())
            .await;
        let source = match created {
            Ok(_) => return Ok(()),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => match self.is_there(location, bytes).await? {
                true => return Ok(()),
                // Removed meanwhile.
                false => objects.put(location, part).await.err(),
            },
            // A store that knows no conditions.
            Err(
                object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. },
            ) => match self.is_there(location, bytes).await? {
                true => return Ok(()),
                false => objects.put(location, part).await.err(),
            },
            Err(error) => Some(error),
        };
        source.map_or(Ok(()), |source| {
            Err(ShipError::Store {
                location: location.clone(),
                source,
            })
        })
    }

    async fn send_parts(
        &self,
        parts: &mut dyn MultipartUpload,
        reader: &mut Reader,
        location: &Path,
    ) -> Result<(), ShipError> {
        let failed = |source| ShipError::Store {
            location: location.clone(),
            source,
        };
        while reader.left > 0 {
            let (part, started) = (reader.next_part()?, Instant::now());
            let bytes = part.content_length() as u64;
            parts.put_part(part).await.map_err(failed)?;
            self.pace(bytes, started).await;
        }
        parts.complete().await.map_err(failed)?;
        Ok(())
    }

    /// Whether the store has the file; an error where it has another one of that name.
    async fn is_there(&self, location: &Path, bytes: u64) -> Result<bool, ShipError> {
        match self.store.objects.head(location).await {
            Ok(found) if found.size == bytes => Ok(true),
            Ok(found) => Err(ShipError::Taken {
                location: location.clone(),
                bytes,
                found_bytes: found.size,
            }),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(ShipError::Store {
                location: location.clone(),
                source,
            }),
        }
    }

    /// Waits until so many bytes may have been sent since then.
    async fn pace(&self, bytes: u64, started: Instant) {
        let due = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        tokio::time::sleep_until(started + due).await;
    }

    /// The file's place below the dataset's root, as it is in the spool.
    fn location(&self, path: &FilePath) -> Path {
        let relative = path.strip_prefix(&self.spool_root).unwrap_or(path);
        let parts = relative
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        parts.fold(self.store.root.clone(), |location, part| {
            location.join(part.as_ref())
        })
    }
}

/// A file that is read part by part.
struct Reader {
    path: PathBuf,
    file: std::fs::File,
    bytes: u64,
    left: u64,
}

impl Reader {
    fn open(path: &FilePath) -> Result<Self, ShipError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ShipError::Gone {
                path: path.to_owned(),
            },
            _ => ShipError::Read {
                path: path.to_owned(),
                source,
            },
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            left: bytes,
        })
    }

    fn next_part(&mut self) -> Result<PutPayload, ShipError> {
        let length = self.left.min(PART_BYTES);
        let mut part = vec![0; length as usize];
        io::Read::read_exact(&mut self.file, &mut part).map_err(|source| ShipError::Read {
            path: self.path.clone(),
            source,
        })?;
        self.left -= length;
        Ok(part.into())
    }
}
