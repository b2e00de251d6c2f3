fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a[1] == "script" {
        let o = inventory::collect::Options {
            organization: true,
            regions: vec!["eu-west-1".into()],
            kinds: vec![],
        };
        std::fs::write(&a[2], inventory::collect::collect_script(&o)).unwrap();
    } else {
        match inventory::folder::read(std::path::Path::new(&a[2])) {
            Err(e) => {
                println!("{e}");
            }
            Ok(f) => {
                for i in &f.resources {
                    println!(
                        "{} {} {:?}",
                        i.resource.kind,
                        i.resource.arn,
                        i.resource.config.keys().collect::<Vec<_>>()
                    );
                }
                println!("{:?} {} {}", f.organization, f.scps.len(), f.rcps.len());
                for g in f.gaps() {
                    println!("{g:?}");
                }
            }
        }
    }
}
