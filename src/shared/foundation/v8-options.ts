/** For servers and driver hosts, set when they start. */
export const V8_OPTIONS = [
  // At a start come thousands of values that stay. From them V8 would conclude that what the same lines make later stays
  // as well, and put it where only full collections look, with all that hangs on it.
  '--no-allocation-site-pretenuring',
  // Of what is young only some megabytes live: helpers cost more time than they take off, from all processes of the machine.
  '--no-parallel-scavenge',
];
