"""All measurements in one run, and the page with tables and plots that is made of them."""
