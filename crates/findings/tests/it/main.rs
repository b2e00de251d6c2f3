//! One binary: lifecycle, filter, properties.

#[cfg(test)]
mod filter;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod life;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod suppression;
