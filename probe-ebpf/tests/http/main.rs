//! HTTP through any segmentation: scripted conversations, frames written by hand, and bytes that
//! make no sense.

mod conversation;
mod frames;
mod lines;
mod messages;
mod nonsense;
