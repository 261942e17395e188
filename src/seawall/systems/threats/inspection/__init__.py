"""The parts of inspection: a request in typed values, each value in its decoded views, and what findings weigh."""
