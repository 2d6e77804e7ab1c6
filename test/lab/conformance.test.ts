// The ports' own suites on what the lab is made of: a Kubernetes API server of their own, and the control server with real tailscaleds.
import './conformance/control-plane.lab.ts';
import './conformance/kubernetes.lab.ts';
