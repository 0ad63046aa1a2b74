//! How single fields of Kubernetes objects are read: addresses, ranges, times.
//!
//! Kubernetes writes "not set" as an absent field, as null and as an empty string; all three read
//! as `None` here. Anything else that does not parse is an error that names the field's path.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;
use trace_schema::objects::ObjectRow;

use super::{ObjectError, ObjectName};

/// A range of addresses; host bits are cleared, as the agents that read them do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr(pub IpNet);

/// An RFC 3339 time, as UTC microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timestamp(pub i64);

/// Metadata that places a version in time.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub creation_timestamp: Option<Timestamp>,
    managed_fields: Option<Vec<ManagedFields>>,
}

#[derive(Debug, Deserialize)]
struct ManagedFields {
    time: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: Metadata,
}

impl Metadata {
    pub(super) fn of(row: &ObjectRow) -> Result<Self, ObjectError> {
        Ok(read::<Envelope>(row)?.metadata)
    }

    /// When the object was last written, as far as its managers say.
    pub(super) fn last_written_us(&self) -> Option<i64> {
        let written = self
            .managed_fields
            .iter()
            .flatten()
            .filter_map(|fields| fields.time);
        written
            .chain(self.creation_timestamp)
            .map(|time| time.0)
            .max()
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let range = IpNet::from_str(&text).map_err(|_| {
            D::Error::custom(format!("{text:?} is not a CIDR: write it as 192.0.2.0/24"))
        })?;
        Ok(Self(range.trunc()))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = chrono::DateTime::parse_from_rfc3339(&text)
            .map_err(|_| D::Error::custom(format!("{text:?} is not an RFC 3339 time")))?;
        Ok(Self(time.timestamp_micros()))
    }
}

/// Reads a row's object as its kind.
pub(super) fn read<T: DeserializeOwned>(row: &ObjectRow) -> Result<T, ObjectError> {
    let failed = |field: String, source| ObjectError::Field {
        kind: row.kind.clone(),
        name: name_of(row).to_string(),
        field: if field == "." {
            "(whole object)".into()
        } else {
            field
        },
        source,
    };
    // By way of a value, whose errors do not cite a line of JSON that the user never wrote.
    let value: Value =
        serde_json::from_str(&row.object).map_err(|source| failed(".".into(), source))?;
    serde_path_to_error::deserialize(value)
        .map_err(|error| failed(error.path().to_string(), error.into_inner()))
}

/// The name of a row's object.
pub(super) fn name_of(row: &ObjectRow) -> ObjectName {
    ObjectName {
        namespace: row.namespace.clone().unwrap_or_default(),
        name: row.name.clone(),
    }
}

/// Reads an address that may be absent, null or empty.
pub(super) fn address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match IpAddr::from_str(text) {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(D::Error::custom(format!("{text:?} is not an IP address"))),
        },
    }
}

/// Reads a text that may be absent, null or empty.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// Clears host bits and turns the newtype into the range itself.
pub(super) fn ranges(cidrs: Option<Vec<Cidr>>) -> Vec<IpNet> {
    cidrs
        .unwrap_or_default()
        .into_iter()
        .map(|cidr| cidr.0)
        .collect()
}
