//! What bounds an expression, so that none costs much.

/// Characters of one expression (ecs-behaviour 1.5).
pub const EXPRESSION_CHARS_MAX: usize = 2000;
/// Parentheses and negations within one another: bounds the stack.
pub const DEPTH_MAX: u32 = 32;
/// Regular expressions in one expression.
pub const PATTERNS_MAX: usize = 16;
/// One regular expression once it is compiled, which repetitions make large.
pub const PATTERN_BYTES_MAX: usize = 32 * 1024;
