//! The smallest part of a script that fails which still fails.

use super::faults::{FaultPlan, PlannedFault};
use super::script::Script;

/// `faults`: those that hit the first command.
pub(super) fn shrink(
    script: &Script,
    faults: &[PlannedFault],
    fails: impl Fn(&Script) -> bool,
) -> Script {
    let mut smallest = Script {
        plan: FaultPlan::These(faults.to_vec()),
        ..script.clone()
    };
    if !fails(&smallest) {
        smallest = script.clone();
    }
    while let Some(smaller) = parts_dropped(&smallest).into_iter().find(&fails) {
        smallest = smaller;
    }
    smallest
}

/// The script without one of its parts, for each of them.
fn parts_dropped(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    let mut add = |drop_part: &dyn Fn(&mut Script)| {
        let mut smaller = script.clone();
        drop_part(&mut smaller);
        all.push(smaller);
    };
    if script.beside.is_some() {
        add(&|it| it.beside = None);
    }
    if script.then.is_some() {
        add(&|it| it.then = None);
    }
    for index in 0..script.meanwhile.len() {
        add(&|it| drop(it.meanwhile.remove(index)));
    }
    if let FaultPlan::These(planned) = &script.plan {
        for index in 0..planned.len() {
            add(&|it| {
                if let FaultPlan::These(planned) = &mut it.plan {
                    planned.remove(index);
                }
            });
        }
    }
    for service in script.images.keys() {
        add(&|it| {
            it.images.remove(service);
        });
    }
    for index in (0..script.edited.len()).filter(|_| script.edited.len() > 1) {
        add(&|it| {
            it.edited.remove(index);
        });
    }
    if script.function_is_wrong {
        add(&|it| it.function_is_wrong = false);
    }
    if script.has_alarms {
        add(&|it| it.has_alarms = false);
    }
    if script.is_busy {
        add(&|it| it.is_busy = false);
    }
    if script.recovers_by_rollback {
        add(&|it| it.recovers_by_rollback = false);
    }
    all
}
