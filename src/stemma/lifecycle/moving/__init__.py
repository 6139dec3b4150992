"""Files from elsewhere into the store: which bytes next, over how many streams, checked, resumed, published."""
