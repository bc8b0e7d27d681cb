//! What a simulated run is beside its faults: the installation's policy, who goes before whom, what operators ask for
//! and what agents say of themselves. Data, like the faults; a schedule that says nothing of it has none of it.

use orchestrator::config::file;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::request::RequestKind;
use serde::{Deserialize, Serialize};

/// What is not a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setting {
    /// What the installation has configured; if nothing, the defaults with a slot for every project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// How each project is enqueued, by its number; those that are not named are enqueued at the start, all alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// What operators ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
    /// What agents say of themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// Whether an operator looks after the fleet once the world is healed, and lets go on what waits for a person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attended: bool,
}

/// How a project is enqueued.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// When, in milliseconds from the start of the run; 0 is with the start.
    pub at_ms: u64,
    /// Higher goes first.
    pub priority: i32,
    /// Its batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
}

/// A request of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// When, from the start of the run.
    pub at_ms: u64,
    /// About which project, counted from 0; none: about the fleet, of which only a reset of its breaker can be asked.
    pub project: Option<u32>,
    /// What.
    pub kind: RequestKind,
    /// Whether the operator looks first, and asks as soon as it makes sense; otherwise it is asked blindly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub looks: bool,
}

/// Something that an agent says, if it can at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// When, from the start of the run.
    pub at_ms: u64,
    /// Whose agent, the project counted from 0.
    pub project: u32,
    /// Of which role, counted from 0.
    pub role: u32,
    /// What.
    pub word: Word,
}

/// What agents say beside the course of their work, as their hooks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Word {
    /// It rests, and goes on with its next step.
    Idle,
    /// It waits for a person, who answers after so long, or when the world is healed.
    NeedsInput {
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// It is out of credit.
    Credit {
        /// For how long, as it says; if it does not, it works again after the time that is assumed then.
        seconds: Option<u64>,
    },
    /// It cannot do the work, says why, and exits.
    Fail,
    /// What an older agent of the role wrote comes in only now: at once if there was one before, else as soon as
    /// there has been.
    Late {
        /// What it wrote.
        wrote: Wrote,
    },
}

/// A record that comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrote {
    /// That it has read its brief.
    Ack,
    /// That it works.
    Progress,
    /// That it is done.
    Done,
    /// That it cannot do the work.
    Fail,
}

impl Setting {
    /// Whether there is nothing to it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How the project of that number is enqueued.
    #[must_use]
    pub fn place(&self, project: u32) -> Place {
        self.places.get(project as usize).cloned().unwrap_or_default()
    }

    /// The same in a run with fewer projects: each goes by its new number, and what is of one without a number is left
    /// out. Of two that become one, the first keeps its place.
    #[must_use]
    pub fn renumbered(&self, number: impl Fn(u32) -> Option<u32>) -> Self {
        let mut setting = Self { places: Vec::new(), asked: Vec::new(), said: Vec::new(), ..self.clone() };
        for (project, place) in (0..).zip(&self.places) {
            if number(project).is_some_and(|number| number as usize == setting.places.len()) {
                setting.places.push(place.clone());
            }
        }
        let asked = self.asked.iter().filter_map(|asked| match asked.project {
            Some(project) => Some(Asked { project: Some(number(project)?), ..*asked }),
            None => Some(*asked),
        });
        setting.asked = asked.collect();
        let said = self.said.iter().filter_map(|said| Some(Said { project: number(said.project)?, ..*said }));
        setting.said = said.collect();
        setting
    }

    /// The same in a run with so many roles: what agents of later ones say, the last of them says.
    #[must_use]
    pub fn with_roles(mut self, roles: u32) -> Self {
        self.said.iter_mut().for_each(|said| said.role = said.role.min(roles.saturating_sub(1)));
        self
    }

    /// The same in a run of that length: what comes later comes at its end.
    #[must_use]
    pub fn until(mut self, duration_ms: u64) -> Self {
        let places = self.places.iter_mut().map(|place| &mut place.at_ms);
        let asked = self.asked.iter_mut().map(|asked| &mut asked.at_ms);
        let said = self.said.iter_mut().map(|said| &mut said.at_ms);
        places.chain(asked).chain(said).for_each(|at_ms| *at_ms = duration_ms.min(*at_ms));
        self
    }

    /// The first thing that makes no sense in it, in a run of so many projects, roles and milliseconds.
    ///
    /// # Errors
    /// What that is.
    pub fn check(&self, projects: u32, roles: u32, duration_ms: u64) -> Result<(), &'static str> {
        let late = |at_ms: u64| at_ms > duration_ms;
        if self.places.len() > projects as usize || self.places.iter().any(|place| late(place.at_ms)) {
            return Err("a project is enqueued that there is not, or after the end");
        } else if self.asked.iter().any(|asked| late(asked.at_ms) || asked.project.is_some_and(|it| it >= projects)) {
            return Err("something is asked of a project that there is not, or after the end");
        } else if self.asked.iter().any(|asked| asked.project.is_none() && asked.kind != RequestKind::BreakerReset) {
            return Err("of the fleet only a reset of its breaker can be asked");
        } else if self.said.iter().any(|said| late(said.at_ms) || said.project >= projects || said.role >= roles) {
            return Err("an agent speaks that there is not, or after the end");
        }
        match &self.policy {
            Some(policy) if !file::is_possible(policy) => Err("no installation can have that policy"),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            policy: Some(Policy { max_active: 1, ..Policy::default() }),
            places: vec![Place { at_ms: 5, priority: -1, batch: Some("night".to_owned()) }],
            asked: vec![Asked { at_ms: 9, project: Some(0), kind: RequestKind::Retry, looks: true }],
            said: vec![Said { at_ms: 7, project: 0, role: 0, word: Word::Late { wrote: Wrote::Done } }],
            attended: true,
        }
    }

    #[test]
    fn it_survives_writing_and_reading_and_what_is_absent_is_nothing() {
        let text = serde_json::to_string(&setting()).expect("json");
        assert_eq!(serde_json::from_str::<Setting>(&text).expect("the same"), setting());
        assert!(serde_json::from_str::<Setting>("{}").expect("nothing").is_empty());
        assert!(serde_json::from_str::<Setting>(r#"{"askd": []}"#).is_err());
        assert_eq!(setting().place(7), Place::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |change: fn(&mut Setting)| {
            let mut setting = setting();
            change(&mut setting);
            setting.check(1, 1, 10).is_err()
        };
        assert_eq!(setting().check(1, 1, 10), Ok(()));
        assert!(refused(|setting| setting.places.push(Place::default())));
        assert!(refused(|setting| setting.asked[0].project = Some(1)));
        assert!(refused(|setting| setting.asked[0].project = None));
        assert!(refused(|setting| setting.said[0].at_ms = 11));
        assert!(refused(|setting| setting.said[0].role = 1));
        assert!(refused(|setting| setting.policy = Some(Policy { breaker_max: 0, ..Policy::default() })));
        assert!(refused(|setting| setting.policy = Some(Policy { breaker_max: 101, ..Policy::default() })));
        assert!(refused(|setting| setting.policy = Some(Policy { unknown_s: 9, ..Policy::default() })));
        assert!(refused(|setting| setting.policy = Some(Policy { ack_s: u64::MAX, ..Policy::default() })));
        assert!(refused(|setting| setting.policy = Some(Policy { backoff_base_s: 301, ..Policy::default() })));
    }
}
