//! What a zero proves: the rule of three.

/// What was looked at without finding anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Zero {
    /// So many trials: what they bound is a share.
    Among(u64),
    /// So much time: what it bounds is a rate, which unlike a share may be above 1.
    Over(f64),
}

impl Zero {
    /// Below what the share or the rate is, with 95 % confidence: 3/N.
    #[must_use]
    pub fn below(self) -> f64 {
        match self {
            Self::Among(trials) => (3.0 / trials as f64).min(1.0),
            Self::Over(time) => 3.0 / time,
        }
    }

    /// The same in words.
    pub(super) fn words(self, unit: &str) -> String {
        let bound = self.below();
        // Two digits that say something, however much was looked at.
        let places = if bound < 0.01 { bound.log10().abs().ceil() as usize + 1 } else { 3 };
        format!("95 % sure: fewer than {bound:.places$} per {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_most_one_and_a_rate_is_not() {
        assert_eq!((Zero::Among(6).below(), Zero::Among(1).below(), Zero::Among(0).below()), (0.5, 1.0, 1.0));
        assert_eq!((Zero::Over(6.0).below(), Zero::Over(0.5).below()), (0.5, 6.0));
        assert_eq!(Zero::Over(0.5).words("agent-hour"), "95 % sure: fewer than 6.000 per agent-hour");
        assert_eq!(Zero::Among(20_000).words("seed"), "95 % sure: fewer than 0.00015 per seed");
    }
}
