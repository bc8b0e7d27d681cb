//! The figures of many simulated seeds, for people and for programs.

use crate::sim::campaign::{Campaign, Totals};
use crate::sim::cover::{Phase, Sometimes};
use orchestrator::domain::state::ProjectState;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

const DAY_US: f64 = 86_400_000_000.0;

/// What the speed was, with its workload.
fn speed(totals: &Totals, took: Duration) -> (f64, f64) {
    let seconds = took.as_secs_f64().max(1e-9);
    (totals.virtual_us as f64 / 1e6 / seconds, totals.events as f64 / seconds)
}

/// As text.
#[must_use]
pub fn campaign_text(campaign: &Campaign, totals: &Totals, took: Duration) -> String {
    let mut out = String::new();
    let (ratio, events) = speed(totals, took);
    let faults: u64 = totals.injected.values().sum();
    let confirmed: u64 = totals.confirmed.values().sum();
    let days = totals.virtual_us as f64 / DAY_US;
    let bound = if totals.violated == 0 {
        format!(" (95 %: < {:.4} % of seeds)", 300.0 / totals.seeds.max(1) as f64)
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "seeds       {} ({} without faults), {} violated{bound}",
        totals.seeds, totals.fault_free, totals.violated
    );
    let _ = writeln!(out, "virtual     {:.2} days ({:.3} years) of {} projects", days, days / 365.25, totals.projects);
    let _ = writeln!(out, "faults      {faults} tried, {confirmed} took effect, {} kinds", totals.confirmed.len());
    let _ = writeln!(out, "orchestr.   {} starts, {} turns, {} entries", totals.starts, totals.turns, totals.entries);
    let _ = writeln!(
        out,
        "speed       {ratio:.0} x real time, {events:.0} events/s on {} threads in {:.1} s",
        campaign.threads,
        took.as_secs_f64()
    );
    let _ = writeln!(out, "\ninvariant        looked at  seeds violated");
    for of in &totals.invariants {
        let _ = writeln!(out, "{:<12} {:>13} {:>15}", of.id, of.checked, of.violated);
    }
    kinds(&mut out, totals);
    moments(&mut out, totals);
    out
}

fn kinds(out: &mut String, totals: &Totals) {
    let _ = writeln!(out, "\nkind                    tried  effect  first  meanwhile  after  states met");
    for (kind, tried) in &totals.injected {
        let places = totals.coverage.places.iter().filter(|((of, _, _), _)| of == kind);
        let mut phases = [0_u64; 3];
        let mut states: Vec<&str> = Vec::new();
        for ((_, state, phase), times) in places {
            let place = Phase::ALL.iter().position(|of| of == phase).unwrap_or(0);
            phases[place] += times;
            if !states.contains(&state.name()) {
                states.push(state.name());
            }
        }
        let effect = totals.confirmed.get(kind).copied().unwrap_or(0);
        let _ = writeln!(
            out,
            "{:<22} {tried:>6} {effect:>7} {:>6} {:>10} {:>6}  {}",
            kind.name(),
            phases[0],
            phases[1],
            phases[2],
            states.join(" ")
        );
    }
    let kinds: Vec<_> = totals.injected.keys().copied().collect();
    let unmet = totals.coverage.unmet(&kinds);
    let cells = kinds.len() * ProjectState::ALL.len();
    let missed: usize = unmet.values().map(Vec::len).sum();
    let _ = writeln!(out, "reached     {} of {cells} cells kind x state", cells - missed);
}

fn moments(out: &mut String, totals: &Totals) {
    let _ = writeln!(out, "\nsometimes");
    for moment in Sometimes::ALL {
        let times = totals.coverage.moments.get(moment).copied().unwrap_or(0);
        let never = if times == 0 { "  NEVER" } else { "" };
        let _ = writeln!(out, "{:<24} {times:>8}{never}", moment.name());
    }
}

/// As JSON.
#[must_use]
pub fn campaign_json(campaign: &Campaign, totals: &Totals, took: Duration) -> Value {
    let (ratio, events) = speed(totals, took);
    let kinds: serde_json::Map<String, Value> = totals
        .injected
        .iter()
        .map(|(kind, tried)| {
            let effect = totals.confirmed.get(kind).copied().unwrap_or(0);
            (kind.name().to_owned(), json!({ "injected": tried, "confirmed": effect }))
        })
        .collect();
    let invariants: serde_json::Map<String, Value> = totals
        .invariants
        .iter()
        .map(|of| (of.id.to_owned(), json!({ "checked": of.checked, "violated": of.violated })))
        .collect();
    let moments: serde_json::Map<String, Value> = Sometimes::ALL
        .iter()
        .map(|moment| {
            let times = totals.coverage.moments.get(moment).copied().unwrap_or(0);
            (moment.name().to_owned(), json!(times))
        })
        .collect();
    json!({
        "schema": 1,
        "mode": "sim",
        "seeds": { "from": campaign.seeds.start, "to": campaign.seeds.end, "played": totals.seeds,
                   "fault_free": totals.fault_free, "violated": totals.violated },
        "virtual_us": totals.virtual_us,
        "projects": totals.projects,
        "events": totals.events,
        "turns": totals.turns,
        "entries": totals.entries,
        "starts": totals.starts,
        "took_ms": took.as_millis() as u64,
        "threads": campaign.threads,
        "speed": { "virtual_per_wall": ratio, "events_per_s": events },
        "kinds": kinds,
        "invariants": invariants,
        "sometimes": moments,
    })
}
