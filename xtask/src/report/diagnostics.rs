//! `--verbose`: each command that is run, on a line of its own.

use std::sync::Arc;

use super::{CommandEvent, Report};

pub fn tell_diagnostics(report: &Arc<Report>) {
    use tracing_subscriber::layer::SubscriberExt;
    let subscriber = tracing_subscriber::registry().with(Diagnostics(Arc::clone(report)));
    // Fails only where a subscriber is set already.
    drop(tracing::subscriber::set_global_default(subscriber));
}

struct Diagnostics(Arc<Report>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Diagnostics {
    fn enabled(
        &self,
        metadata: &tracing::Metadata<'_>,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) -> bool {
        metadata.target().starts_with("xtask")
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.emit(CommandEvent::Diagnostic { text: line.0 });
    }
}

#[derive(Default)]
struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        if field.name() == "message" {
            self.0.push_str(&format!("{value:?}"));
        } else {
            self.0.push_str(&format!("{}={value:?}", field.name()));
        }
    }
}
