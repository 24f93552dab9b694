//! What no entry of a catalog shows alone: names, routes and priorities that two have, calls of
//! what is not there, and the order of a release.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{CatalogDraft, DraftEntry};
use super::read::PRIORITY_MAX;
use super::{CatalogEntry, Component, Route};

/// Priorities are given in steps of this, so that there is room between them.
const PRIORITY_STEP: u32 = 10;

/// The next free priority after all others.
pub(super) fn next_priority<'a>(routes: impl Iterator<Item = &'a Route>) -> u32 {
    let last = routes.map(|route| route.priority).max();
    (last.unwrap_or_default() / PRIORITY_STEP + 1) * PRIORITY_STEP
}

pub(super) fn check(draft: &mut CatalogDraft<'_>) {
    let entries = draft.entries.clone();
    check_names(draft, &entries);
    check_routes(draft, &entries);
    check_default_route(draft, &entries);
    for entry in &entries {
        check_calls(draft, entry, &entries);
    }
}

fn check_names(draft: &mut CatalogDraft<'_>, entries: &[DraftEntry]) {
    let (mut names, mut folders) = (BTreeMap::new(), BTreeMap::new());
    for DraftEntry { path, entry, .. } in entries {
        let name = entry.component().name();
        if let Some(first) = names.insert(name, path) {
            let message = format!("`{name}` is the name of {first} too: give one another name");
            draft.fault(&format!("{path}.name"), message);
            continue;
        }
        let folder = entry.common().folder.as_str();
        if let Some(other) = folders.insert(folder, name)
            && !folder.is_empty()
        {
            let message = format!("`{folder}` is the crate of {other} too: each has its own");
            draft.fault(&format!("{path}.crate"), message);
        }
    }
}

fn check_routes(draft: &mut CatalogDraft<'_>, entries: &[DraftEntry]) {
    let all = || entries.iter().flat_map(|it| routes(&it.entry));
    let free = next_priority(all()).min(PRIORITY_MAX);
    let (mut priorities, mut requests) = (BTreeMap::new(), BTreeMap::new());
    for DraftEntry {
        entry, route_paths, ..
    } in entries
    {
        let name = entry.component().name();
        for (route, path) in routes(entry).iter().zip(route_paths) {
            // A fault of its own was told where it is 0 or empty.
            if route.priority > 0
                && let Some(other) = priorities.insert(route.priority, name)
            {
                let message = format!(
                    "{} is the priority of a route of {other} too: use another one, such as {free}",
                    route.priority
                );
                draft.fault(&format!("{path}.priority"), message);
            }
            if !route.path.is_empty()
                && let Some(other) = requests.insert(route.requests(), name)
            {
                let message =
                    format!("{route} is a route of {other} too: a request goes to one service");
                draft.fault(path, message);
            }
        }
    }
}

fn routes(entry: &CatalogEntry) -> &[Route] {
    entry.as_service().map_or(&[], |entry| &entry.routes)
}

fn check_default_route(draft: &mut CatalogDraft<'_>, entries: &[DraftEntry]) {
    let mut services = entries
        .iter()
        .filter(|it| !it.entry.common().retired)
        .filter_map(|it| Some((it.entry.as_service()?, &it.path)))
        .peekable();
    if services.peek().is_none() {
        return;
    }
    let mut defaults = services.filter(|(entry, _)| entry.default_route);
    let Some((first, _)) = defaults.next() else {
        if draft.unread.is_empty() {
            let message = "one service has the `default_route`, and none has: set it in one";
            draft.fault("components", message);
        }
        return;
    };
    for (_, path) in defaults {
        let message = format!(
            "{} has the default route already: set it to false in one of them",
            first.service
        );
        draft.fault(&format!("{path}.default_route"), message);
    }
}

fn check_calls(draft: &mut CatalogDraft<'_>, caller: &DraftEntry, entries: &[DraftEntry]) {
    let mut known = BTreeSet::new();
    let calls = caller.entry.as_service().map_or(&[][..], |it| &it.calls);
    for (call, path) in calls.iter().zip(&caller.call_paths) {
        let target = call.target;
        if !known.insert(target) {
            let message = format!("{target} is called in another entry of the list already");
            draft.fault(path, message);
        }
        let of_name = entries
            .iter()
            .find(|it| it.entry.component().name() == target.name());
        let message = match of_name {
            Some(found) if kind(found.entry.component()) != kind(target) => {
                let actual = kind(found.entry.component());
                format!("{target} is a {actual}: write `\"{actual}\": \"{target}\"`")
            }
            Some(found) if found.entry.common().retired && !caller.entry.common().retired => {
                format!("{target} is retired: remove the call first")
            }
            None if !draft.is_unread(target.name()) => {
                format!(
                    "there is no {} `{target}`: remove the call, or add its entry",
                    kind(target)
                )
            }
            _ => continue,
        };
        draft.fault(path, message);
    }
}

fn kind(component: Component) -> &'static str {
    match component {
        Component::Service(_) => "service",
        Component::Function(_) => "function",
    }
}

/// The order of a release: what is called before its callers, and else by name. Each circle of
/// calls is a fault.
pub(super) fn in_order(draft: &mut CatalogDraft<'_>) -> Vec<CatalogEntry> {
    let mut waiting = draft.entries.clone();
    waiting.sort_by_key(|it| it.entry.component());
    let known: BTreeSet<_> = waiting.iter().map(|it| it.entry.component()).collect();
    let mut placed = BTreeSet::new();
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let is_free = |it: &DraftEntry| {
            let mut calls = it.entry.calls().into_iter();
            calls.all(|call| placed.contains(&call) || !known.contains(&call))
        };
        let next = waiting.iter().position(is_free).unwrap_or_else(|| {
            let circle = circle(&waiting);
            let names: Vec<_> = circle
                .iter()
                .map(|it| waiting[*it].entry.component().name())
                .collect();
            let (first, others) = names.split_first().unwrap_or((&"", &[]));
            let called = [others, &[*first]].concat().join(", which calls ");
            let message = format!(
                "{first} calls {called}: what is called is released before its callers, so \
                 remove one of these calls"
            );
            let start = circle.first().copied().unwrap_or_default();
            draft.fault(&format!("{}.calls", waiting[start].path), message);
            start
        });
        let mut entry = waiting.remove(next).entry;
        placed.insert(entry.component());
        if let CatalogEntry::Service(entry) = &mut entry {
            entry.routes.sort_by_key(|route| route.priority);
        }
        ordered.push(entry);
    }
    ordered
}

/// Of entries each of which waits for another one, some that call each other in a circle.
fn circle(waiting: &[DraftEntry]) -> Vec<usize> {
    let place = |call| waiting.iter().position(|it| it.entry.component() == call);
    let next = |index: usize| waiting[index].entry.calls().into_iter().find_map(place);
    let mut walk = vec![0];
    while let Some(next) = walk.last().and_then(|index| next(*index)) {
        if let Some(start) = walk.iter().position(|index| *index == next) {
            return walk.split_off(start);
        }
        walk.push(next);
    }
    walk
}
