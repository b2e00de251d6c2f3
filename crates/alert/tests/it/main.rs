//! One binary: planning, words, delivery.

#[cfg(test)]
mod delivery;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod planning;
#[cfg(test)]
mod words;
