//! Asks the compiled-in policies one question, without Lambda: the request on stdin, the answer on
//! stdout.

use std::error::Error;
use std::io::Write;

use governance::decision::decide;
use governance::policies::Policies;
use governance::question::Question;

fn main() -> Result<(), Box<dyn Error>> {
    let question = Question::parse(&serde_json::from_reader(std::io::stdin())?)?;
    let answer = decide(&Policies::built_in()?, &question).answer();
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&answer)?)?;
    Ok(())
}
