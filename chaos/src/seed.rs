//! Where every draw of a run comes from.
//!
//! One seed, many named streams: each part of the harness draws from its own, so that a new draw in one part does not
//! move the draws of another. A stream is ChaCha8 keyed by the seed and a hash of its name that is written out here,
//! and only whole 32 and 64-bit words are drawn from it, so that no release of a library can change what a seed means.

use rand::rngs::ChaCha8Rng;
use rand::rngs::SysRng;
use rand::{Rng, SeedableRng, TryRng};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Random seeds stay below 2^53, so that a JSON reader that keeps numbers as doubles hands them back unchanged.
const RANDOM_BITS: u32 = 53;

/// What a run is a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// A seed from the system's entropy.
    ///
    /// # Errors
    /// The system's words, if it has no entropy to give.
    pub fn random() -> Result<Self, String> {
        Ok(Self(entropy()? >> (u64::BITS - RANDOM_BITS)))
    }

    /// The stream of that name.
    #[must_use]
    pub fn stream(self, name: &str) -> Stream {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        key[8..16].copy_from_slice(&fnv1a(name.as_bytes()).to_le_bytes());
        // The last half is a constant of this format: change it only if what a seed means is to change.
        key[16..].copy_from_slice(b"orch-chaos.seed1");
        Stream(ChaCha8Rng::from_seed(key))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Seed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| format!("'{text}' is no seed: a whole number from 0 to {}", u64::MAX))
    }
}

/// A named sequence of draws.
#[derive(Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// A number below `bound`, every one as likely; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        // Draws of the last, incomplete round would favour small numbers: draw again.
        let complete = u64::MAX - (u64::MAX % bound);
        loop {
            let drawn = self.0.next_u64();
            if drawn < complete {
                return drawn % bound;
            }
        }
    }

    /// 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A place in a collection of `len` things; 0 if it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// The place of a weight, drawn in proportion to the weights; none if all are zero.
    pub fn weighted(&mut self, weights: &[u32]) -> Option<usize> {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        if total == 0 {
            return None;
        }
        let mut left = self.below(total);
        for (place, weight) in weights.iter().enumerate() {
            let weight = u64::from(*weight);
            if left < weight {
                return Some(place);
            }
            left -= weight;
        }
        None
    }

    /// Puts things into an order, every one as likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.index(last + 1));
        }
    }

    /// One of the numbers from `low` to `high`, both included; `low` if there is none.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }
}

/// 64 bits of the system's entropy: for seeds and for marks, never for a draw of a run.
///
/// # Errors
/// The system's words, if it has no entropy to give.
pub(crate) fn entropy() -> Result<u64, String> {
    SysRng.try_next_u64().map_err(|error| error.to_string())
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Published test vectors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut stream = Seed(1234).stream("faults");
        let drawn: Vec<u64> = (0..4).map(|_| stream.below(1_000_000)).collect();
        assert_eq!(drawn, [319_349, 912_112, 99_004, 768_971]);
        let mut order: Vec<u32> = (0..8).collect();
        Seed(1234).stream("order").shuffle(&mut order);
        assert_eq!(order, [3, 4, 2, 1, 7, 0, 5, 6]);
    }

    #[test]
    fn streams_and_seeds_do_not_share_draws() {
        let first = |seed: u64, name: &str| Seed(seed).stream(name).below(u64::MAX);
        assert_ne!(first(1, "faults"), first(1, "times"));
        assert_ne!(first(1, "faults"), first(2, "faults"));
        assert_eq!(first(1, "faults"), first(1, "faults"));
    }

    #[test]
    fn bounds_hold_and_every_value_comes() {
        let mut stream = Seed(7).stream("bounds");
        let mut seen = [0_u32; 5];
        for _ in 0..1_000 {
            seen[stream.index(5)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 150), "{seen:?}");
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.weighted(&[0, 0]), None);
        assert_eq!(stream.weighted(&[0, 3]), Some(1));
    }

    #[test]
    fn a_seed_is_read_as_it_is_printed() {
        assert_eq!("18446744073709551615".parse(), Ok(Seed(u64::MAX)));
        assert!("-1".parse::<Seed>().is_err());
        assert!(Seed::random().expect("entropy").0 < 1 << RANDOM_BITS);
    }
}
