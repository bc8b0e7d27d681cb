//! S11: the metrics are the fold of the journal, at every scrape, and no counter ever falls.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::sim::meter::{Meter, Series};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::signal::Entry;

/// The checker of S11.
#[derive(Default)]
pub(super) struct Counted {
    /// A fold of its own.
    meter: Option<Meter>,
    last: Series,
    tally: Tally,
}

/// The first series that two scrapes differ in.
fn difference(served: &Series, folded: &Series) -> Option<String> {
    let of = |name: &String, series: &Series| series.get(name).cloned().unwrap_or_else(|| "not there".to_owned());
    let mut names = served.keys().chain(folded.keys());
    // A sum of seconds depends in its last digits on how many observations were added at a time.
    let number = |series: &Series, name: &String| series.get(name).and_then(|text| text.parse::<f64>().ok());
    let same = |name: &String| match (number(served, name), number(folded, name)) {
        (Some(served), Some(folded)) => (served - folded).abs() <= 1e-9 * folded.abs().max(1.0),
        (served, folded) => served == folded,
    };
    let name = names.find(|name| !same(name))?;
    Some(format!("{name} is {} where the journal gives {}", of(name, served), of(name, folded)))
}

/// The first counter that is less than it was.
fn fallen(before: &Series, now: &Series) -> Option<String> {
    let number = |text: &String| text.parse::<f64>().unwrap_or(0.0);
    let of = |name: &String| now.get(name).map_or(0.0, number);
    before
        .iter()
        .find(|(name, was)| name.contains("_total") && of(name) < number(was))
        .map(|(name, was)| format!("{name} was {was} and fell to {}", of(name)))
}

impl Checker for Counted {
    fn id(&self) -> &'static str {
        "S11"
    }

    fn title(&self) -> &'static str {
        "the metrics are the fold of the journal at every scrape, and no counter falls over a restart"
    }

    fn witness(&mut self, told: &Witnessed) {
        let Fact::Scraped { series } = &told.fact else { return };
        let at = told.at.as_millis();
        let folded = self.meter.as_ref().map(Meter::scrape).unwrap_or_default();
        let differs = difference(series, &folded);
        self.tally.check(differs.is_none(), || format!("at {at} ms {}", differs.unwrap_or_default()));
        let fell = fallen(&self.last, series);
        self.tally.check(fell.is_none(), || format!("at {at} ms {}", fell.unwrap_or_default()));
        self.last.clone_from(series);
    }

    fn observe(&mut self, entry: &Entry) {
        self.meter.get_or_insert_with(Meter::new).fold(std::slice::from_ref(entry));
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("nobody ever read the metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;
    use crate::story::Story;

    fn scrape(of: &Story) -> Fact {
        let mut meter = Meter::new();
        of.journal().iter().for_each(|logged| meter.fold(std::slice::from_ref(&logged.entry)));
        Fact::Scraped { series: meter.scrape() }
    }

    #[test]
    fn the_fold_passes_and_anything_else_fails() {
        let story = || Story::new().also_running(1);
        assert_eq!(Past::new().running().fact(scrape(&story())).is(Counted::default()), Is::Pass);
        let ahead = story().moved(
            1,
            orchestrator::domain::state::ProjectState::Running,
            orchestrator::domain::state::ProjectState::Recovering,
        );
        assert_eq!(Past::new().running().fact(scrape(&ahead)).is(Counted::default()), Is::Fail, "ahead of the journal");
        let fell = Past::new().running().fact(scrape(&story())).fact(scrape(&Story::new()));
        assert_eq!(fell.is(Counted::default()), Is::Fail);
        assert_eq!(Past::new().running().is(Counted::default()), Is::Unknown);
    }
}
