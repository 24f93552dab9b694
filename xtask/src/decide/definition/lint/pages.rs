//! The page of each rule: what it finds, why, and an example of wrong and right. `rules.md` has all
//! of them.

const RULES: &str = include_str!("rules.md");

/// The page of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RulePage {
    pub code: &'static str,
    /// What is right.
    pub title: &'static str,
    /// Markdown, without the heading.
    pub text: &'static str,
}

/// All pages, in the order of their codes.
pub fn pages() -> Vec<RulePage> {
    let sections = RULES.split("\n## ").skip(1);
    sections
        .filter_map(|section| {
            let (heading, text) = section.split_once('\n')?;
            let (code, title) = heading.split_once(' ')?;
            let text = text.trim();
            Some(RulePage { code, title, text })
        })
        .collect()
}

impl RulePage {
    /// What AWS or the field says of it.
    pub fn source(&self) -> Option<&'static str> {
        let (_, rest) = self.text.split_once("Source: <")?;
        Some(rest.split_once('>')?.0)
    }

    /// The first paragraph.
    pub fn summary(&self) -> &'static str {
        self.text.split("\n\n").next().unwrap_or_default()
    }

    /// The example below this word.
    #[cfg(test)]
    pub fn example(&self, word: &str) -> &'static str {
        let start = format!("{word}:\n\n```json\n");
        let rest = self.text.split_once(&start).unwrap().1;
        rest.split_once("\n```").unwrap().0
    }
}
