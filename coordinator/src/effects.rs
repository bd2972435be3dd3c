//! What the state asks of the world outside (design.md rule 7): each intent is an event, performed
//! after it is durable, at least once, with a key by which the other side can tell a repetition;
//! its outcome is a command. Never: a decision, or an effect that the journal does not ask for.

pub mod hooks;
pub mod launchers;
mod https;
