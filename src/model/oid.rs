//! The name of a git object.
//!
//! Knows no repository: the same type carries SHA-1 and SHA-256 names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A git object id: 20 bytes (SHA-1) or 32 bytes (SHA-256). Written and serialised as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid {
    bytes: [u8; 32],
    len: u8,
}

/// The text or bytes were no object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an object id (40 or 64 hex digits)")]
pub struct OidFault(pub String);

impl Oid {
    /// The id made of these 20 or 32 raw bytes.
    pub fn from_bytes(raw: &[u8]) -> Result<Self, OidFault> {
        if raw.len() != 20 && raw.len() != 32 {
            return Err(OidFault(format!("{} bytes", raw.len())));
        }
        let mut bytes = [0; 32];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { bytes, len: raw.len() as u8 })
    }

    /// The id written in these hex digits, given as bytes (as git prints them).
    pub fn from_hex(hex: &[u8]) -> Result<Self, OidFault> {
        std::str::from_utf8(hex)
            .map_err(|_| OidFault(String::from_utf8_lossy(hex).into_owned()))?
            .parse()
    }

    /// The raw bytes: 20 or 32 of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The id of nothing, as long as this one: git's sign for "no such ref".
    #[must_use]
    pub fn null_like(&self) -> Self {
        Self { bytes: [0; 32], len: self.len }
    }

    /// Whether this is the id of nothing.
    pub fn is_null(&self) -> bool {
        self.bytes == [0; 32]
    }

    /// The first ten hex digits, for people.
    pub fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(10);
        hex
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

impl FromStr for Oid {
    type Err = OidFault;

    fn from_str(hex: &str) -> Result<Self, OidFault> {
        let digits = hex.as_bytes();
        let fault = || OidFault(hex.to_owned());
        if digits.len() != 40 && digits.len() != 64 {
            return Err(fault());
        }
        let mut bytes = [0; 32];
        for (place, pair) in digits.chunks_exact(2).enumerate() {
            let digit = |b: u8| char::from(b).to_digit(16).ok_or_else(fault);
            bytes[place] = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self { bytes, len: (digits.len() / 2) as u8 })
    }
}

impl Serialize for Oid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hex = std::borrow::Cow::<'de, str>::deserialize(from)?;
        hex.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_round() {
        for hex in ["0123456789abcdef0123456789abcdef01234567".to_owned(), "ab".repeat(32)] {
            let oid: Oid = hex.parse().expect("an id");
            assert_eq!(oid.to_string(), hex);
            assert_eq!(Oid::from_bytes(oid.as_bytes()), Ok(oid));
            let json = serde_json::to_string(&oid).expect("json");
            assert_eq!(serde_json::from_str::<Oid>(&json).expect("an id"), oid);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "abc", &"g".repeat(40), &"a".repeat(41)] {
            assert!(text.parse::<Oid>().is_err(), "{text}");
        }
    }
}
