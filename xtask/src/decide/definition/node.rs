//! A JSON value together with its path, so that errors can name it.

use serde_json::Value;

/// The API model has seven levels. What is deeper has the path of its last ancestor that fits.
const STEPS_MAX: usize = 8;

/// Most paths are shorter.
const PATH_BYTES: usize = 64;

/// The path is made of its steps where somebody asks for it: most nodes have no fault.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    pub value: &'a Value,
    steps: [PathStep<'a>; STEPS_MAX],
    depth: usize,
}

/// From a value to one that it holds.
#[derive(Debug, Clone, Copy)]
pub enum PathStep<'a> {
    Member(&'a str),
    Item(usize),
}

impl<'a> Node<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self {
            value,
            steps: [PathStep::Item(0); STEPS_MAX],
            depth: 0,
        }
    }

    fn child(&self, step: PathStep<'a>, value: &'a Value) -> Self {
        let mut child = *self;
        child.value = value;
        if child.depth < STEPS_MAX {
            child.steps[child.depth] = step;
            child.depth += 1;
        }
        child
    }

    /// From the root to this value.
    pub fn steps(&self) -> &[PathStep<'a>] {
        &self.steps[..self.depth]
    }

    /// The key of the innermost object on the path.
    pub fn key(&self) -> Option<&'a str> {
        self.steps().iter().rev().find_map(PathStep::member)
    }

    /// Such as `containerDefinitions[0].secrets[1].valueFrom`; empty for the root.
    pub fn json_path(&self) -> String {
        let mut path = String::with_capacity(PATH_BYTES);
        for step in self.steps() {
            match step {
                PathStep::Member(key) => add_key(&mut path, key),
                PathStep::Item(index) => {
                    path.push('[');
                    path.push_str(&index.to_string());
                    path.push(']');
                }
            }
        }
        path
    }

    /// The path of a member, whether it exists or not.
    pub fn path_of(&self, key: &str) -> String {
        let mut path = self.json_path();
        add_key(&mut path, key);
        path
    }

    /// A member of an object. `null` counts as absent, as in ECS.
    pub fn get(&self, key: &'a str) -> Option<Self> {
        Some(self.child(PathStep::Member(key), self.member(key)?))
    }

    /// The value of a member, as by `get`.
    pub fn member(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// A nested member.
    pub fn at<const N: usize>(&self, keys: [&'a str; N]) -> Option<Self> {
        keys.iter().try_fold(*self, |node, key| node.get(key))
    }

    /// The items of an array member; empty without such an array.
    pub fn items(&self, key: &'a str) -> Vec<Self> {
        self.get(key)
            .map(|member| member.elements())
            .unwrap_or_default()
    }

    /// The items of an array.
    pub fn elements(&self) -> Vec<Self> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(index, value)| self.child(PathStep::Item(index), value);
        items.iter().enumerate().map(item).collect()
    }

    /// The members of an object.
    pub fn members(&self) -> Vec<(&'a str, Self)> {
        let members = self.value.as_object().into_iter().flatten();
        members
            .map(|(key, value)| (key.as_str(), self.child(PathStep::Member(key), value)))
            .collect()
    }

    pub fn string(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.member(key)?.as_str()
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        self.member(key)?.as_i64()
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.member(key)?.as_bool()
    }

    /// The strings of an array member.
    pub fn texts(&self, key: &str) -> Vec<&'a str> {
        let items = self.member(key).and_then(Value::as_array);
        let items = items.map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).collect()
    }

    /// Every string of this node and its descendants.
    pub fn strings(&self) -> Vec<(Self, &'a str)> {
        let mut found = Vec::new();
        self.add_strings(&mut found);
        found
    }

    fn add_strings(&self, found: &mut Vec<(Self, &'a str)>) {
        match self.value {
            Value::String(text) => found.push((*self, text)),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.child(PathStep::Item(index), item).add_strings(found);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    self.child(PathStep::Member(key), member).add_strings(found);
                }
            }
            _ => {}
        }
    }
}

impl<'a> PathStep<'a> {
    pub fn member(&self) -> Option<&'a str> {
        match self {
            Self::Member(key) => Some(key),
            Self::Item(_) => None,
        }
    }
}

fn add_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}
