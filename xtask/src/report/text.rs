//! What stands in a text and is not to be seen must not act on a terminal either.

/// The text with its control characters as JSON would write them, so that JSON stays JSON: others
/// may have put them there (a caller of a service, a log, a name) to move the cursor, to hide a
/// line or to have one read backwards.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.replace("\r\n", "\n").chars() {
        if acts(letter) {
            shown.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// A control character that is not part of a plain text, or one that turns the direction of
/// writing.
fn acts(letter: char) -> bool {
    let turns = matches!(
        letter,
        '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    );
    turns || letter.is_control() && !matches!(letter, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_an_escape() {
        for (text, shown) in [
            ("\u{1b}[2Jcleared", r"\u001b[2Jcleared"),
            ("\u{9b}31mred", r"\u009b31mred"),
            ("typed\u{8}\u{7f}", r"typed\u0008\u007f"),
            ("\0", r"\u0000"),
            ("100 %\rdone", r"100 %\u000ddone"),
            (
                "\u{202e}txt.exe\u{2069}\u{200f}",
                r"\u202etxt.exe\u2069\u200f",
            ),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        let text = "error[E0425]: größer\n\t--> src/main.rs:1 │ ✓ 日本 👩‍🚀";
        assert_eq!(visible(text), text);
        assert_eq!(visible("one\r\ntwo\r\n"), "one\ntwo\n");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({ "intent": "a\u{7f}\u{9b}\u{202e}\r\n\u{1b}" });
        let shown = visible(&value.to_string());
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
}
