//! A JSON value together with its path, so that errors can name it.

use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Node<'a> {
    pub value: &'a Value,
    /// Such as `containerDefinitions[0].secrets[1].valueFrom`; empty for the root.
    pub json_path: String,
}

impl<'a> Node<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self {
            value,
            json_path: String::new(),
        }
    }

    /// A member of an object. `null` counts as absent, as in ECS.
    pub fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self {
            value,
            json_path: self.path_of(key),
        })
    }

    /// A nested member.
    pub fn at<const N: usize>(&self, keys: [&str; N]) -> Option<Self> {
        keys.iter()
            .try_fold(self.clone(), |node, key| node.get(key))
    }

    /// The path of a member, whether it exists or not.
    pub fn path_of(&self, key: &str) -> String {
        if self.json_path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.json_path)
        }
    }

    /// The items of an array member; empty without such an array.
    pub fn items(&self, key: &str) -> Vec<Self> {
        self.get(key)
            .map(|member| member.elements())
            .unwrap_or_default()
    }

    /// The items of an array.
    pub fn elements(&self) -> Vec<Self> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(index, value)| Self {
            value,
            json_path: format!("{}[{index}]", self.json_path),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The members of an object.
    pub fn members(&self) -> Vec<(&'a str, Self)> {
        let members = self.value.as_object().into_iter().flatten();
        members
            .map(|(key, value)| {
                (
                    key.as_str(),
                    Self {
                        value,
                        json_path: self.path_of(key),
                    },
                )
            })
            .collect()
    }

    pub fn string(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.value.as_str()
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.value.as_i64()
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.value.as_bool()
    }

    /// The strings of an array member.
    pub fn texts(&self, key: &str) -> Vec<&'a str> {
        self.items(key).iter().filter_map(Self::string).collect()
    }

    /// Every string of this node and its descendants.
    pub fn strings(&self) -> Vec<(Self, &'a str)> {
        let mut found = Vec::new();
        self.add_strings(&mut found);
        found
    }

    fn add_strings(&self, found: &mut Vec<(Self, &'a str)>) {
        match self.value {
            Value::String(text) => found.push((self.clone(), text)),
            Value::Array(_) => {
                for item in self.elements() {
                    item.add_strings(found);
                }
            }
            Value::Object(_) => {
                for (_, member) in self.members() {
                    member.add_strings(found);
                }
            }
            _ => {}
        }
    }
}
