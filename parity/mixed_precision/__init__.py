"""Which layers bear fewer bits: measured on masks, group by group, and put together in a plan."""
