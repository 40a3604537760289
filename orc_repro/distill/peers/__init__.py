"""Online methods: networks that learn from each other, none of them trained beforehand."""
