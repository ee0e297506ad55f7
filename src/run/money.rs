//! What an attempt cost, as far as it can be known.
//!
//! Knows no agent: what these said comes in.

use crate::event::RunState;
use crate::model::{AttemptEnd, Prices};

/// Completes what an agent said: what earlier attempts of the same conversation used is taken off, and
/// where it told no cost, that is estimated by prices.
pub fn settle(prices: &Prices, state: &RunState, end: &mut AttemptEnd) {
    if let Some(usage) = end.handoff.as_mut().and_then(|handoff| handoff.usage.as_mut())
        && usage.usd.is_none()
    {
        usage.estimated = prices.estimate(usage);
    }
    let Some(usage) = &mut end.usage else { return };
    if usage.cumulative {
        let (profile, session) = (usage.profile.clone(), usage.session.clone());
        let before = state.attempts().filter_map(|(_, attempt)| {
            let known = attempt.ended.as_ref()?.1.usage.as_deref()?;
            let same = known.profile == profile && known.session == session;
            (same && session.is_some()).then_some(known)
        });
        usage.since(before);
    }
    if usage.usd.is_none() {
        usage.estimated = prices.estimate(usage);
    }
}
