"""How ``mien prove`` and the tests of privacy prove: pictures that can be found again, and those who look for them."""
