// Package agent makes the dataplane of one node follow LXD.
//
// It is level-triggered: an event of LXD, a link that comes or goes, and a timer are all the same hint, to look
// again. Each look reads everything, builds the whole desired state from it (build.go, a pure function) and hands it
// to the dataplane, which applies the difference.
//
// Two views are read apart, because they fail apart (view.go): the instances of this node, which LXD answers in
// milliseconds, and those of the cluster, for which it may wait 20 s when a member has just died. What was known
// stays in force while a source does not answer: nothing is removed unless the source says that it is gone.
package agent
