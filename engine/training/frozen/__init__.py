"""How the frozen base lies in memory: quantised Linears, blocks swapped from host memory, and activations computed again."""
