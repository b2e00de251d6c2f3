mod corpora;
mod differential;
mod generate;
