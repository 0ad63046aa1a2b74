//! The witnesses among themselves, without any probe: gateway, backends and k6 count the same.

use lab::{DataPlane, K6Options, Upstream};

use super::scene::{backend_counts, config, gateway_counts, k6_counts};

#[test]
fn gateway_backends_and_k6_agree() {
    for data_plane in DataPlane::ALL {
        let mut config = config(data_plane);
        config.upstream = Upstream {
            h2c: data_plane == DataPlane::Envoy,
            keep_alive: true,
        };
        let ingress = lab::Ingress::up(config).expect("an ingress");
        let prober = ingress.start_prober().expect("a prober");
        let run = ingress.k6(&K6Options::new(4, 2)).expect("a run of k6");
        let probed = prober.stop();
        let (passed, own) = gateway_counts(&ingress);
        assert_eq!(passed, backend_counts(&ingress));
        assert_eq!(passed, k6_counts(&run));
        assert!(own.is_empty(), "{own:?}");
        println!("{data_plane:?}: {passed:?}, probed {probed:?}");
        assert!(passed.len() == 4, "not every pod answered: {passed:?}");
        assert!(probed.len() == 8 && probed.values().all(|answers| *answers > 0));
        ingress.down().expect("the lab goes down");
    }
}
