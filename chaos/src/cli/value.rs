//! Values on the command line, each with its range and a one-line error.

use crate::fault::Kind;
use crate::schedule::{DURATION_MS_MAX, DURATION_MS_MIN};
use jiff::SignedDuration;

/// A duration such as `30s`, `2m` or `1h30m`, in milliseconds.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    let read: SignedDuration = text.parse().map_err(|_| "not a duration; write 30s, 2m or 1h30m".to_owned())?;
    let millis = u64::try_from(read.as_millis()).unwrap_or(0);
    if (DURATION_MS_MIN..=DURATION_MS_MAX).contains(&millis) {
        Ok(millis)
    } else {
        Err(format!("allowed: {} s to {} h", DURATION_MS_MIN / 1_000, DURATION_MS_MAX / 3_600_000))
    }
}

/// `KIND` or `KIND=WEIGHT`.
pub(super) fn weighted(text: &str) -> Result<(Kind, u32), String> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let kind = Kind::from_name(name).ok_or_else(|| format!("no such kind; known: {}", known.join(", ")))?;
    let weight: u32 = weight.parse().map_err(|_| "a weight is a whole number".to_owned())?;
    if weight > 1_000 { Err("a weight is at most 1000".to_owned()) } else { Ok((kind, weight)) }
}

/// The name of a kind.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    weighted(text.split('=').next().unwrap_or_default()).map(|(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_humane_and_bounded() {
        assert_eq!(duration_ms("30s"), Ok(30_000));
        assert_eq!(duration_ms("1m 30s"), Ok(90_000));
        assert_eq!(duration_ms("1h30m"), Ok(5_400_000));
        for wrong in ["30", "", "s", "-30s", "3s", "25h", "1e9h"] {
            assert!(duration_ms(wrong).is_err_and(|why| why.lines().count() == 1), "{wrong}");
        }
    }

    #[test]
    fn kinds_carry_their_weight() {
        assert_eq!(weighted("session_kill"), Ok((Kind::SessionKill, 1)));
        assert_eq!(weighted("stderr_null=5"), Ok((Kind::StderrNull, 5)));
        assert!(weighted("stderr_null=-1").is_err());
        assert!(weighted("sesion_kill").is_err_and(|why| why.contains("session_kill")));
    }
}
